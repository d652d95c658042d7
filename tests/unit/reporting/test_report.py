"""Reports: what is read from runs is what was found, texts stay texts, and whatever is broken is a note."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.inference.translator import Translator
from seq2seq.reporting import style
from seq2seq.reporting.attention import AttentionMap
from seq2seq.reporting.contents import Options, gather
from seq2seq.reporting.curves import PANELS
from seq2seq.reporting.html import render, write_report
from seq2seq.reporting.inspection import inspect
from seq2seq.reporting.interactive import attention_figure, curves_figure, lengths_figure
from seq2seq.reporting.paper import curves_figure as curves_figure_on_paper
from seq2seq.reporting.runs import Notes, differing, find_runs, flatten, groups
from seq2seq.reporting.series import TITLES, Chart, Line, charts, lengths
from seq2seq.reporting.tested import Tested, differences, edits, read_tested, score_by_length, splits, telling
from seq2seq.scoring import Scorer
from tests import runs
from tests.runs import OUTPUTS, REFERENCES, SOURCES

TEXT = st.text(alphabet="ab,. \u3000中文é-'\u00a0", max_size=20)
EVIL = "<script>alert(1)</script>\"'&{{7*7}}<a href='javascript:alert(1)'>$x$</a>"


def read(folder: Path) -> Tested:
    (run,), notes = find_runs([folder])
    found = read_tested(run, "test", notes)
    assert found is not None
    return found


class TestRuns:
    def test_a_sweep_and_a_run_are_found_named_and_ranked(self, tmp_path):
        for number, outputs in enumerate([OUTPUTS, REFERENCES]):
            runs.write(tmp_path / "sweep" / str(number), overrides=[f"cell={number}", "a=b"], outputs=outputs)
        runs.write(tmp_path / "mine", outputs=["x"] * 4)
        (tmp_path / "sweep" / "notes").mkdir()  # no run
        found, notes = find_runs([tmp_path / "mine", tmp_path / "sweep", tmp_path / "sweep" / "0"])
        assert [run.name for run in found] == ["cell=1", "cell=0", "mine"]
        assert [note for note in notes if "bundle" not in note] == []

    def test_equal_names_get_their_folders(self, tmp_path):
        paths = [runs.write(tmp_path / name / "run") for name in ("a", "b")]
        assert {run.name for run in find_runs(paths)[0]} == {"a/run", "b/run"}

    def test_seeds_are_one_group_and_other_settings_another(self, tmp_path):
        for number, (seed, cell) in enumerate([(1, "gru"), (2, "gru"), (1, "lstm")]):
            overrides = [f"cell={cell}", f"seed={seed}"]
            runs.write(tmp_path / "s" / str(number), seed=seed, encoder={"cell": cell}, overrides=overrides)
        found, _ = find_runs([tmp_path / "s"])
        assert {group.name: len(group.runs) for group in groups(found)} == {
            "cell=gru (2 seeds)": 2,
            "cell=lstm seed=1": 1,
        }
        assert set(differing(found)) == {"encoder.cell", "seed"}

    def test_the_same_seed_twice_is_no_mean(self, tmp_path):
        paths = [runs.write(tmp_path / name) for name in "ab"]
        assert [len(group.runs) for group in groups(find_runs(paths)[0])] == [1, 1]

    def test_a_seed_that_has_not_come_to_its_end_shortens_no_mean(self, tmp_path):
        paths = [runs.write(tmp_path / f"{seed}", seed=seed) for seed in (1, 2, 3)]
        (paths[2] / "run.json").write_text('{"status": "running"}')
        found, notes = find_runs(paths)
        assert [group.name for group in groups(found)] == ["1, 2 (2 seeds)", "3"]
        assert f"{paths[2]}: running: it has not ended" in notes

    def test_flatten(self):
        nested = {"a": {"b": {"c": 1}, "d": {}}, "e": [1]}
        assert dict(flatten(nested)) == {"a.b.c": 1, "a.d": {}, "e": [1]}

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("run.json", '{"status": "fini', "unreadable: run.json"),
            ("run.json", "[" * 9999, "unreadable: run.json: maximum recursion"),
            ("run.json", '{"status": "finished", "seed": 1' + "0" * 400 + "}", "unreadable: run.json: seed is 1000"),
            ("run.json", None, "no run.json"),
            ("run.json", '{"status": "running"}', "running: it has not ended"),
            ("run.json", '{"status": "failed", "error": "out of \\ud800 memory"}', "failed: out of ? memory"),
            ("run.json", '{"status": "finished", "test": {"BLEU": {"value": 1, "signature": {"a": 1}}}}', ""),
            ("metrics.csv", None, "no curves"),
            ("metrics.csv", "\udcff", "is damaged, no curves"),
            ("metrics.csv", "step,val_loss\n1,2\n2", ""),
            ("hparams.yaml", "a: [", "settings are not known"),
            ("hparams.yaml", "!!python/object/apply:os.getcwd []", "settings are not known"),
            ("hparams.yaml", "[" * 9999, "settings are not known"),
            ("hparams.yaml", "7", "settings are not known"),
            ("bundle/config.json", "{", "cannot be read"),
            ("bundle/config.json", "[]", "is damaged"),
            ("bundle/config.json", "[" * 9999, "cannot be read"),
            ("bundle/model.safetensors", "x", "the model of broken was not run"),
            ("test.references.txt", "one\n", "4 outputs, 4 sources and 1 references"),
            ("test.references.txt", "\udcff", "texts are left out"),
            ("test.references.txt", None, "texts are left out"),
        ],
    )
    def test_a_broken_run_is_a_note_next_to_a_complete_one(self, tmp_path, name, content, said):
        whole, broken = runs.write(tmp_path / "whole"), runs.write(tmp_path / "broken", bundle={})
        if content is None:
            (broken / name).unlink()
        else:
            (broken / name).write_text(content, encoding="utf-8", errors="surrogateescape")
        contents = gather([broken, whole], Options())
        assert {run.name for run in contents.runs} == {"broken", "whole"}
        assert said in "\n".join(contents.notes)
        assert all(str(broken) in note for note in contents.notes if str(whole) not in note)

    def test_nothing_to_report(self, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").touch()
        for name, said in [("empty", "no run in it"), ("file", "is a file"), ("gone", "no such folder")]:
            with pytest.raises(UserError, match=said):
                find_runs([tmp_path / name])
        only = runs.write(tmp_path / "only")
        for path in [only / "metrics.csv", only / "run.json"]:
            path.unlink()
        with pytest.raises(UserError, match=r"no run\.json"):
            write_report([only], tmp_path / "report.html", Options())
        assert not (tmp_path / "report.html").exists()

    def test_a_row_that_is_half_written_is_left_out(self, tmp_path):
        folder = runs.write(tmp_path / "a")
        with (folder / "metrics.csv").open("a") as file:
            file.write("0,0.001,99")
        (run,), _ = find_runs([folder])
        assert len(run.metrics) == 20


class TestTexts:
    @pytest.mark.parametrize(
        ("output", "reference", "count", "shown"),
        [
            ("a dog.", "a dog.", 0, "a dog."),
            ("a cat.", "a dog.", 1, "a -dog- +cat+."),
            ("a", "a b", 1, "a-b-"),
            ("", "a b", 2, "-a b-"),
            ("雨風", "春風", 1, "-春- +雨+風"),
            ("AddToPlaylist", "BookRestaurant", 1, "-BookRestaurant- +AddToPlaylist+"),
            ("B-x O", "B-x I-x", 1, "B-x -I-x- +O+"),
            ("k æ t̃", "k æ t", 1, "k æ -t- +t̃+"),
            ("(well) done", "well done", 2, "+(+well+)+ done"),
        ],
    )
    def test_differences_as_one_reads_them(self, output, reference, count, shown):
        marks = {"same": "", "missing": "-", "extra": "+"}
        found = "".join(f"{marks[part.kind]}{part.text}{marks[part.kind]}" for part in differences(output, reference))
        assert (found.strip(), edits(output, reference)) == (shown, count)

    @given(TEXT, TEXT)
    def test_both_texts_can_be_read_off_their_differences(self, output, reference):
        parts = differences(output, reference)
        for left_out, text in (("missing", output), ("extra", reference)):
            read = "".join(part.text for part in parts if part.kind != left_out)
            assert "".join(read.split()) == "".join(text.split())
        assert (edits(output, reference) == 0) is all(part.kind == "same" for part in parts)

    def test_lines_worth_reading(self, tmp_path):
        one = read(runs.write(tmp_path / "a"))
        assert telling([one], 2) == {"Spread over the test set": [0, 2], "Furthest from the reference": [3]}
        other = one._replace(outputs=["a b x d e.", "b", "c d e f e", "d e f g"])
        assert telling([one, other], 2)["Where the runs differ most"] == [1, 3]

    def test_scores_by_length_are_those_of_their_lines(self, tmp_path):
        found = score_by_length(read(runs.write(tmp_path / "a")), notes := Notes())
        assert found is not None
        expected = [("1–5", [2, 3]), ("6–10", [0, 1])]
        for (words, count, value), (name, lines) in zip(found.buckets, expected, strict=True):
            score = Scorer(("bleu",))([OUTPUTS[i] for i in lines], [REFERENCES[i] for i in lines])["BLEU"].value
            assert (words, count, value) == (name, len(lines), pytest.approx(score))
        assert notes == []

    def test_a_score_that_is_not_the_recorded_one_is_noted(self, tmp_path):
        folder = runs.write(tmp_path / "a")
        (folder / "test.translations.txt").write_text("x\n" * 4)
        assert score_by_length(read(folder), notes := Notes()) is not None
        assert "was recorded" in notes[0]

    def test_lines_of_a_language_model(self, tmp_path):
        folder = runs.write(tmp_path / "a", task={"name": "language_modeling"})
        for path in folder.glob("test.*"):
            path.unlink()
        (folder / "test.lines.txt").write_text("2.0\ta\n5.0\tb c d\n1.0\ta b c d e f\n")
        found = score_by_length(read(folder), Notes())
        assert found is not None
        # 2 and 6 characters with the line feed: (2·2 + 6·5) / 8
        assert found.buckets == [("1–5", 2, 4.25), ("6–10", 1, 1.0)]

    @pytest.mark.parametrize(("entities", "f1"), [(True, 100 * 1 / 2), (False, 100 * 4 / 6)])
    def test_labels_are_scored_as_their_task_does(self, tmp_path, entities, f1):
        from seq2seq.text import LabelTokenizer, Tokenizers, WhitespaceTokenizer

        folder = runs.write(tmp_path / "a", task={"name": "tagging", "entities": entities})
        (folder / "bundle").mkdir()
        Tokenizers(WhitespaceTokenizer(["a"]), LabelTokenizer(["B-x", "I-x", "B-y", "O"]), False).save(
            folder / "bundle"
        )
        (folder / "test.sources.txt").write_text("a b c d\n")
        (folder / "test.references.txt").write_text("B-x I-x O B-y\n")
        (folder / "test.translations.txt").rename(folder / "test.labels.txt")
        (folder / "test.labels.txt").write_text("B-x I-x B-y O\n")
        found = score_by_length(read(folder), Notes())
        assert found is not None
        assert found.metric == "F1"
        assert found.overall.value == pytest.approx(f1)

    def test_test_sets_that_were_not_kept_are_read_from_their_corpus(self, tmp_path):
        lines = "".join(f"{source}\t{target}\n" for source, target in zip(SOURCES, REFERENCES, strict=True))
        (tmp_path / "test.tsv").write_text(lines)
        corpus = {"_target_": "seq2seq.corpora.TSV", "source_language": "a", "target_language": "b"}
        corpus |= {"train": "x", "val": "x", "tests": {"test": str(tmp_path / "test.tsv")}}
        folder = runs.write(tmp_path / "a", data={"corpus": corpus})
        for name in ("sources", "references"):
            (folder / f"test.{name}.txt").unlink()
        assert read(folder)[2:4] == (SOURCES, REFERENCES)
        (run,), notes = find_runs([folder])
        for change, said in (
            (lines.replace("d", "x"), "its corpus is not what it was: BLEU is"),
            (None, "no such file"),
        ):
            (tmp_path / "test.tsv").unlink()
            if change:
                (tmp_path / "test.tsv").write_text(change)
            assert read_tested(run, splits(run)[0], notes := Notes()) is None
            assert said in notes[-1]


class TestSeries:
    def test_every_column_has_a_title(self):
        assert set(TITLES) == {curve.column for panel in PANELS for curve in panel.curves}

    def test_mean_and_deviation_over_seeds(self, tmp_path):
        paths = [runs.write(tmp_path / f"{seed}", seed=seed) for seed in (1, 3)]
        (paths[1] / "metrics.csv").write_text("epoch,step,val_bleu\n0,0,0\n0,20,30\n0,40,30\n0,50,\n")
        found = groups(find_runs(paths)[0])
        line = next(chart for chart in charts(found) if chart.column == "val_bleu").lines[0]
        assert line.steps.tolist() == [0, 10, 20, 30, 40]  # up to where both have values, every step of the denser one
        first, second = [0, 2.5, 5, 7.5, 10], [0, 15, 30, 30, 30]
        assert line.values.tolist() == pytest.approx(np.mean([first, second], 0))
        assert line.spread.tolist() == pytest.approx(np.std([first, second], 0, ddof=1))

    def test_one_run_has_no_spread_and_its_own_values(self, tmp_path):
        (chart,) = [c for c in charts(groups(find_runs([runs.write(tmp_path / "a")])[0])) if c.column == "val_loss"]
        assert (chart.best, chart.lines[0].values[0], chart.lines[0].spread.any()) == ("min", 8.0, np.False_)

    def test_bars_over_seeds_and_tasks_stay_apart(self, tmp_path):
        paths = [runs.write(tmp_path / f"{s}", seed=s, outputs=o) for s, o in ((1, OUTPUTS), (2, REFERENCES))]
        paths.append(runs.write(tmp_path / "c", task={"name": "captioning"}))
        found, notes = find_runs(paths)
        scores = [score_by_length(read_tested(run, "test", notes), notes) for run in found]
        mean, other = lengths(groups(found), scores)
        values = [[value for _, _, value in score.buckets] for score in scores if score.run.task == "translation"]
        assert mean.bars[0].values == pytest.approx(np.mean(values, 0))
        assert mean.bars[0].spread == pytest.approx(np.std(values, 0, ddof=1))
        assert (other.task, len(other.bars)) == ("captioning", 1)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """CSS color-mix in srgb."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


class TestPage:
    def test_colours_have_the_contrast_that_wcag_asks_for(self):
        css = (Path(style.__file__).parent / "page" / "report.css").read_text(encoding="utf-8")
        themes = [
            dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
        ]
        assert len(themes) == 2
        for theme in themes:
            for name in ("ink", "muted", "link", "missing"):
                assert min(contrast(theme[name], theme[place]) for place in ("page", "panel")) >= 4.5, name
            assert contrast(theme["ink"], theme["extra"]) >= 4.5
            doubted = mix(theme["doubt"], theme["page"], 0.75)  # the least probable token
            assert contrast(theme["ink"], doubted) >= 4.5
            assert (
                min(contrast(colour, theme[place]) for colour in style.SERIES for place in ("page", "panel"))
                >= 3 * 0.98
            )

    def test_probabilities_and_attention_are_the_translators(self, tmp_path):
        folder = runs.write(tmp_path / "a", bundle={"context": "additive"})
        (run,), notes = find_runs([folder])
        found = inspect(run, SOURCES, (), notes)
        translator = Translator.load(folder / "bundle")
        expected = translator.translate_full(SOURCES, translator.options(n_best=1, return_attention=True))
        for one, (best,) in zip(found, expected, strict=True):
            assert list(one.log_probs) == best.hypothesis.token_log_probs
            assert one.attention is not None
            assert one.attention.weights.shape == (len(one.tokens), len(one.attention.source_tokens))
            read = len(one.attention.source_tokens)  # after it, the batch is padded
            np.testing.assert_array_equal(one.attention.weights, best.hypothesis.attention[:, :read])
            assert one.attention.source_tokens[-1] == "</s>"
        assert notes == []

    def test_the_figures_hold_the_numbers(self, tmp_path):
        paths = [runs.write(tmp_path / f"{s}", seed=s, outputs=o) for s, o in ((1, OUTPUTS), (2, REFERENCES))]
        contents = gather(paths, Options(models=False))
        names = [group.name for group in contents.groups]
        chart = next(chart for chart in contents.charts if chart.column == "val_bleu")
        band, line = curves_figure(chart, names, 90)["data"]
        assert (line["y"], line["meta"]) == (chart.lines[0].values.tolist(), {"group": 0})
        assert band["y"][:10] == (chart.lines[0].values + chart.lines[0].spread).tolist()
        (bars,) = lengths_figure(contents.lengths[0][1], names)["data"]
        assert bars["y"] == contents.lengths[0][1].bars[0].values
        heat = attention_figure(AttentionMap(["a", "b"], ["<b>x"], np.array([[0.25, 0.75]])))
        assert heat["data"][0]["z"] == [[0.25, 0.75]]
        assert heat["data"][0]["text"] == [["&lt;b&gt;x ← a", "&lt;b&gt;x ← b"]]

    def test_the_page_has_all_results(self, tmp_path):
        left = runs.write(tmp_path / "left", bundle={"context": "additive"}, encoder={"size": 4})
        right = runs.write(tmp_path / "right", bundle={}, encoder={"size": 8}, outputs=REFERENCES)
        assert main(["report", str(left), str(right), "-o", str(tmp_path / "page.html")]) == 0
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert page.index(">right</th>") < page.index(">left</th>")  # the best first
        assert re.search(r"encoder\.size</th><td>8</td><td>4</td>", page)
        assert "<del>c</del>" in page
        assert "<ins>x</ins>" in page
        assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp" in page
        assert "most attention to" in page
        assert page.count("<script>") == 2

    def test_no_model_asks_none(self, tmp_path, capsys):
        folder = runs.write(tmp_path / "a", bundle={})
        (folder / "bundle" / "model.safetensors").unlink()
        command = ["report", str(folder), "-o", str(tmp_path / "page.html"), "--no-model"]
        assert main(command) == 0
        assert "Inside the models" not in (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "note" not in capsys.readouterr().out

    def test_hostile_texts_stay_texts(self, tmp_path):
        texts = [f"{EVIL} {i}" for i in range(4)]
        folder = runs.write(
            tmp_path / "evil<b>&", outputs=texts, references=texts[::-1], sources=texts, x=EVIL, bundle={}
        )
        (folder / "metrics.csv").write_text(f"step,val_loss,{EVIL}\n1,{EVIL},2\n")
        other = runs.write(tmp_path / "other")
        page = render(gather([folder, other], Options()))
        markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)  # ours, known by their hashes
        assert "<script>alert" not in page
        assert "<a href='javascript" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in markup
        assert "{{7*7}}" in markup
        for figure in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S):
            assert "<" not in figure
            assert "<script" not in json.loads(figure).__repr__().replace("&lt;script", "")

    def test_top_and_bad_numbers(self, tmp_path, capsys):
        for i in range(3):
            runs.write(tmp_path / "s" / f"r{i}", outputs=[*REFERENCES[:i], *["x y"] * (4 - i)], y=i)
        contents = gather([tmp_path / "s"], Options(top=2, models=False))
        assert [test.run.name for test in contents.comparisons[0].tests] == ["r2", "r1"]
        assert "texts and models are those of 2 runs of 3" in "\n".join(contents.notes)
        assert main(["report", str(tmp_path / "s"), "--top", "0", "-o", str(tmp_path / "x.html")]) == 2
        assert main(["report", str(tmp_path / "s"), "-o", str(tmp_path)]) == 2
        assert main(["plot", str(tmp_path / "s"), "-o", str(tmp_path / "s" / "r0" / "run.json")]) == 2
        assert "Traceback" not in capsys.readouterr().err


class TestPlot:
    @pytest.mark.parametrize("kind", ["pdf", "png"])
    @pytest.mark.slow
    def test_pictures_are_files_of_their_format_and_the_same_again(self, tmp_path, kind):
        folder = runs.write(tmp_path / "a run", bundle={"context": "additive"})
        command = ["plot", str(folder), "--format", kind, "--sentences", "1", "-o", str(tmp_path / "out")]
        assert main(command) == 0
        files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        names = ("leaderboard", "curves.val_bleu", "BLEU_by_length.test", "probabilities.1", "attention.a_run")
        assert {f"{name}.{kind}" for name in names} <= set(files)
        start = {"pdf": b"%PDF", "png": b"\x89PNG"}[kind]
        assert all(content.startswith(start) for content in files.values())
        if kind == "pdf":
            assert all(b"/FontFile2" in content and b"/Type3" not in content for content in files.values())

    @pytest.mark.parametrize("kind", ["pdf", "png"])
    def test_the_same_picture_is_the_same_file(self, tmp_path, kind):
        chart = Chart("val_bleu", "A title", "max", [Line(0, np.arange(3.0), np.arange(3.0), np.zeros(3))])
        paths = [style.save(curves_figure_on_paper(chart, ["x"], 2), tmp_path / f"{i}.{kind}") for i in range(2)]
        assert paths[0].read_bytes() == paths[1].read_bytes()

    def test_lines_bands_and_legend(self, tmp_path):
        paths = [runs.write(tmp_path / f"{s}{c}", seed=s, cell=c) for s, c in ((1, "gru"), (2, "gru"), (1, "lstm"))]
        contents = gather(paths, Options(models=False))
        names = [group.name for group in contents.groups]
        chart = next(chart for chart in contents.charts if chart.column == "val_bleu")
        (axes,) = curves_figure_on_paper(chart, names, 90).axes
        assert [line.get_ydata().tolist() for line in axes.lines] == [line.values.tolist() for line in chart.lines]
        assert len({line.get_linestyle() for line in axes.lines}) == 2
        assert len(axes.collections) == 1  # the band of the two seeds
        assert [text.get_text() for text in axes.get_legend().get_texts()] == names
        assert math.isclose(axes.lines[0].get_xdata()[-1], 90)
