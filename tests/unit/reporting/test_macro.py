"""Macro-averages over languages: those of the task's own script on the same outputs; all languages in a sweep."""

import json
from pathlib import Path

import pytest

from seq2seq.cli.composing.languages import with_languages
from seq2seq.cli.main import main
from seq2seq.corpora.datasets import g2p
from seq2seq.errors import UserError
from seq2seq.reporting.macro import macro_averages
from seq2seq.scoring import Scorer
from tests import bundles

OUTPUTS = {"dut": (["a b", "c", "d  e"], ["a b", "x", "d e"]), "kor": (["", "f"], ["g", "f"]), "fre": (["h"], ["h"])}


def evaluated(outputs: list[str], references: list[str]) -> float:
    """WER of a language as the task's evaluation defines it: 100 times the share of words whose phonemes differ."""
    wrong = sum(output.split() != reference.split() for output, reference in zip(outputs, references, strict=True))
    return 100 * wrong / len(references)


def write_run(folder: Path, number: int, overrides: list[str], wer: float | None) -> None:
    (folder / str(number)).mkdir(parents=True)
    test = {} if wer is None else {"WER": {"value": wer, "signature": "x"}}
    run = {"status": "failed" if wer is None else "finished", "overrides": overrides, "test": test}
    (folder / str(number) / "run.json").write_text(json.dumps(run))


def test_the_leaderboard_prints_the_mean_over_languages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = []
    for number, (language, (outputs, references)) in enumerate(OUTPUTS.items()):
        wer = Scorer(["wer"])(outputs, references)["WER"].value
        assert wer == pytest.approx(evaluated(outputs, references), abs=1e-12)
        expected.append(wer)
        for seed, shift in ((1, 1.0), (2, -1.0)):  # a language counts with the mean of its seeds
            overrides = ["experiment=g2p", f"data.corpus.language={language}", f"seed={seed}"]
            write_run(tmp_path, 2 * number + seed, overrides, wer + shift)
    write_run(tmp_path, 9, ["experiment=g2p", "data.corpus.language=hun", "seed=1"], None)
    assert main(["leaderboard", str(tmp_path), "--macro", "wer"]) == 0
    printed = capsys.readouterr().out
    line = f"macro-average WER of 3 languages; 1 runs have no score\t{sum(expected) / 3:.2f}"
    assert line in printed
    assert (tmp_path / "leaderboard.macro.tsv").read_text().splitlines()[-1] == line
    assert main(["leaderboard", str(tmp_path), "--macro", "bleu"]) != 0
    assert "no run has a score of this name" in capsys.readouterr().err
    with pytest.raises(UserError, match="there is no such metric"):
        macro_averages([], "werr")


def test_a_sweep_has_a_job_for_each_language_that_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(g2p, "CHECKSUMS", {})
    for language in ("dut", "kor"):
        for split in ("train", "dev", "test"):
            (tmp_path / f"{language}_{split}.tsv").write_text("a\tb\n")
    where = [f"data.root={tmp_path}", "data.corpus.url=http://127.0.0.1:1/"]
    words = ["-m", "experiment=g2p", "data.corpus.language=medium", *where]
    assert with_languages(words) == ["-m", "experiment=g2p", "data.corpus.language=dut,kor", *where]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 8
    assert printed[0].startswith("not run: fre: http://127.0.0.1:1/medium/fre_train.tsv: cannot be downloaded")
    listed = with_languages(["-m", "data=inflection", "data.corpus.language=[german,turkish]"])
    assert listed[2] == "data.corpus.language=german,turkish"
    assert with_languages(["-m", "experiment=g2p", "data.corpus.language=dut,kor"])[2].endswith("=dut,kor")
    alone = ["experiment=g2p", "data.corpus.language=medium"]
    assert with_languages(alone) == alone
    with pytest.raises(UserError, match=r"language=medium: there are dut, .*for all of medium, train with -m"):
        g2p.G2P("medium")
    with pytest.raises(UserError, match="none of its languages can be had"):
        with_languages(["-m", "experiment=g2p", "data.corpus.language=high", *where])
    assert len(g2p.LANGUAGES) == 21


def test_the_seeds_of_a_sweep_as_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        write_run(tmp_path, seed, ["data.corpus.language=dut", f"seed={seed}"], 50.0)
        bundles.save(folder / "bundle", seed=seed)
        (folder / "hparams.yaml").write_text(f"seed: {seed}\ntask: {{name: translation}}\nname: x\n")
        for name in ("sources", "references", "translations"):
            (folder / f"test.{name}.txt").write_text("a man sleeps\nthe dog runs\n")
    assert main(["ensemble", str(tmp_path), "--macro", "wer"]) == 0
    printed = capsys.readouterr().out
    outputs = (tmp_path / "ensembles" / "1" / "test.translations.txt").read_text().splitlines()
    wer = evaluated(outputs, ["a man sleeps", "the dog runs"])
    assert f"test: WER = {wer:5.2f}" in printed
    assert f"macro-average WER of 1 languages\t{wer:.2f}" in printed
    files = [str(tmp_path / name) for name in ("1/bundle", "1/test.sources.txt", "o")]
    assert main(["translate-file", *files, "--ensemble", str(tmp_path / "2" / "bundle")]) == 0
    assert (tmp_path / "o").read_text().splitlines() == outputs
    assert main(["ensemble", str(tmp_path / "1")]) != 0
    assert "no finished runs differ in their seed only" in capsys.readouterr().err
