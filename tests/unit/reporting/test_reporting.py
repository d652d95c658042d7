"""Figures have what they should, tables have all results, and damaged runs are rows instead of tracebacks."""

import argparse
import csv
import json
import logging
import math
import struct
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import sacrebleu

from seq2seq.cli import leaderboard as command
from seq2seq.errors import UserError
from seq2seq.reporting.attention import AttentionMap, attention_figure, attention_maps
from seq2seq.reporting.bars import MOST, leaderboard_figure
from seq2seq.reporting.curves import learning_curves, learning_curves_figure
from seq2seq.reporting.leaderboard import collect, leaderboard
from seq2seq.reporting.lengths import bleu_by_length, bleu_by_length_figure, length_buckets
from seq2seq.reporting.tables import label, markdown, terminal
from seq2seq.reporting.wording import compact, duration, shorten
from seq2seq.runtime.atomic_files import atomic_write

SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG file."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def metrics(epochs: int, steps: int) -> list[dict[str, object]]:
    """Rows as CSVLogger writes them: cells empty where something else was logged."""
    empty = dict.fromkeys(["train_loss", "val_loss", "train_perplexity", "val_perplexity", "val_bleu", "val_chrf"], "")
    rows = []
    for step in range(epochs * steps):
        epoch, loss = step // steps, 5.0 * 0.99**step
        rows.append(empty | {"step": step, "epoch": epoch, "train_loss": loss, "train_perplexity": math.exp(loss)})
        rows.append(empty | {"step": step, "epoch": epoch, "learning_rate": 1e-3, "tokens_per_second": 9e3})
        if step % steps == steps - 1:
            scores = {
                "val_loss": abs(epoch - 1) + 2.0,
                "val_perplexity": 8.0,
                "val_bleu": 10.0 + epoch,
                "val_chrf": 30.0,
            }
            rows.append(empty | {"step": step, "epoch": epoch} | scores)
    return rows


class TestCurves:
    @pytest.mark.parametrize(
        ("epochs", "shown"), [(2, ["1", "2"]), (40, ["5", "10", "15", "20", "25", "30", "35", "40"])]
    )
    def test_panels_lines_and_epochs(self, epochs, shown):
        figure = learning_curves_figure(metrics(epochs, 5))
        panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
        assert [axes.get_title(loc="left").split()[0] for axes in panels] == [
            "Loss",
            "Perplexity",
            "Validation",
            "Rates",
        ]
        legend = [text.get_text() for text in panels[0].get_legend().get_texts()]
        assert legend == ["train", "validation (best 2.00)"]
        top = panels[0].child_axes[0]
        assert [tick.get_text() for tick in top.get_xticklabels()] == shown
        assert len(figure.axes) == 5  # the second scale of the last panel

    def test_the_line_holds_the_logged_values_and_the_best_is_marked(self):
        rows = metrics(3, 4)
        loss = learning_curves_figure(reversed(rows)).axes[0]
        lines = {line.get_label(): line for line in loss.lines}
        validation = lines["validation (best 2.00)"]
        assert validation.get_xdata().tolist() == [3, 7, 11]
        assert validation.get_ydata().tolist() == [3.0, 2.0, 3.0]
        assert any(line.get_xdata().tolist() == [7] for line in loss.lines)

    def test_noise_is_drawn_under_a_mean_that_keeps_a_straight_line(self):
        rows = [{"step": step, "epoch": 0, "train_loss": 100 - step} for step in range(100)]
        raw, mean = learning_curves_figure(rows).axes[0].lines
        assert raw.get_alpha() < 1
        assert mean.get_ydata()[:90] == pytest.approx(raw.get_ydata()[:90])

    def test_what_is_no_number_is_left_out(self):
        rows = [
            {"step": step, "epoch": 0, "train_loss": loss} for step, loss in enumerate(["nan", "inf", "", "x", "2.5"])
        ]
        (panel,) = learning_curves_figure(rows).axes
        assert panel.lines[0].get_ydata().tolist() == [2.5]

    def test_csv_file_to_png(self, tmp_path):
        rows = metrics(2, 3)
        with (tmp_path / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, sorted({key for row in rows for key in row}))
            writer.writeheader()
            writer.writerows(rows)
        before = dict(mpl.rcParams)
        width, height = png_size(learning_curves(tmp_path / "metrics.csv", tmp_path / "deep" / "curves.png"))
        assert width > height > 500
        assert dict(mpl.rcParams) == before
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["curves.png"]

    def test_nothing_to_draw(self, tmp_path):
        with pytest.raises(UserError, match="no numbers"):
            learning_curves_figure([{"step": 0, "epoch": 0, "train_loss": ""}])
        with pytest.raises(UserError, match=r"metrics.csv: no such file"):
            learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")


class TestLengths:
    sources = ("a b", "a b c d e", "a b c d e f", "w " * 101)
    hypotheses = ("x y z w", "x y z q r", "x y z w v u", "eins zwei drei vier")
    references = ("x y z w", "x y z w r", "x y z w v", "eins zwei drei vier")

    def test_each_bucket_is_scored_by_itself(self, tmp_path):
        buckets = bleu_by_length(self.sources, self.hypotheses, self.references, tmp_path / "lengths.png")
        assert [(bucket.words, bucket.sentences) for bucket in buckets] == [("1–5", 2), ("6–10", 1), ("101+", 1)]
        oracle = [
            sacrebleu.corpus_bleu(self.hypotheses[i:j], [self.references[i:j]]).score
            for i, j in [(0, 2), (2, 3), (3, 4)]
        ]
        assert [bucket.bleu for bucket in buckets] == pytest.approx(oracle)
        assert min(png_size(tmp_path / "lengths.png")) > 300

    def test_bars_counts_and_overall_line(self):
        buckets, overall = length_buckets(self.sources, self.hypotheses, self.references)
        (axes,) = bleu_by_length_figure(buckets, overall).axes
        assert [bar.get_height() for bar in axes.patches] == pytest.approx([bucket.bleu for bucket in buckets])
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1–5\nn=2", "6–10\nn=1", "101+\nn=1"]
        assert axes.lines[0].get_ydata()[0] == pytest.approx(
            sacrebleu.corpus_bleu(self.hypotheses, [self.references]).score
        )

    def test_unequal_lengths(self, tmp_path):
        with pytest.raises(UserError, match="1 sources but 2 hypotheses"):
            bleu_by_length(["a"], ["a", "b"], ["a", "b"], tmp_path / "lengths.png")
        assert not any(tmp_path.iterdir())


def attention(source: list[str], target: list[str]) -> AttentionMap:
    return AttentionMap(source, target, np.full((len(target), len(source)), 1 / len(source), dtype=np.float32))


class TestAttention:
    items = (
        attention(["▁A", "▁hat", "$5", "$6", "</s>"], ["▁Ein", "▁größer", "er", "</s>"]),
        attention(list("白日依山盡"), list("黃河入海流")),
        attention(["▁Wort"] * 50, ["▁Donaudampfschifffahrtsgesellschaft"] * 60),
    )

    def test_labels_weights_and_colour_bar(self):
        first, second, third, _ = attention_figure(self.items).axes
        assert [tick.get_text() for tick in first.get_xticklabels()] == ["▁A", "▁hat", "$5", "$6", "</s>"]
        assert [tick.get_text() for tick in first.get_yticklabels()] == ["▁Ein", "▁größer", "er", "</s>"]
        assert first.images[0].get_array().shape == (4, 5)
        assert first.images[0].get_clim() == (0, 1)
        rotations = [axes.get_xticklabels()[0].get_rotation() for axes in (first, second, third)]
        assert rotations == [90, 0, 90]  # an ideograph needs no turning

    def test_nothing_overlaps(self):
        figure = attention_figure(self.items)
        figure.draw_without_rendering()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        whole_figure = figure.bbox
        assert all(whole_figure.x0 <= box.x0 and box.x1 <= whole_figure.x1 for box in boxes)
        assert all(whole_figure.y0 <= box.y0 and box.y1 <= whole_figure.y1 for box in boxes)

    def test_png_without_a_spam_of_warnings(self, tmp_path, recwarn, caplog):
        with caplog.at_level(logging.WARNING):
            width, _ = png_size(attention_maps(self.items, tmp_path / "attention.png"))
        assert width > 1000
        assert not recwarn.list
        assert len(caplog.records) <= 1  # one line where no installed font has the ideographs

    @pytest.mark.parametrize(
        "items", [[], [AttentionMap(["a"], ["b", "c"], np.ones((1, 2)))]], ids=["none", "transposed"]
    )
    def test_refused(self, items):
        with pytest.raises(ValueError, match="attention maps"):
            attention_figure(items)


def run_json(*overrides: str, bleu: float | None = None, **changes: object) -> dict[str, object]:
    test = (
        {}
        if bleu is None
        else {"BLEU": {"value": bleu, "signature": SIGNATURE}, "TER": {"value": 50.0, "signature": "t"}}
    )
    run: dict[str, object] = {"name": "n", "status": "finished", "error": None, "overrides": ["data=toy", *overrides]}
    run |= {"parameters": 12_345_678, "val_loss": 2.5, "val_perplexity": 12.2, "test": test}
    return run | {"tokens_per_second": 9876.5, "seconds": 3723.4, "seed": 1} | changes


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Ten jobs of every kind; 10 is named so that text order would put it before 2."""
    jobs = {
        "0": run_json("cell=gru", "seed=1", bleu=30.0),
        "1": run_json("cell=lstm", "seed=1", bleu=35.5),
        "2": run_json("cell=gru", "seed=2", status="running", val_loss=None, test={}),
        "3": run_json("cell=x|y", "seed=1", status="failed", error="KeyError:\n  'x|y' " + "long " * 50, val_loss=None),
        "4": '{"status": "finis',
        "5": None,
        "6": run_json("cell=lstm", "seed=2", status="interrupted", bleu=20.0),
        "7": run_json("cell=vanilla", "seed=1", val_loss=1.5),
        "8": "[]",
        "10": run_json("cell=vanilla", "seed=2", val_loss=math.nan, parameters="many"),
    }
    for name, run in jobs.items():
        (tmp_path / name).mkdir()
        if run is not None:
            (tmp_path / name / "run.json").write_text(run if isinstance(run, str) else json.dumps(run))
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "multirun.yaml").touch()
    return tmp_path


class TestLeaderboard:
    def test_order_status_and_overrides(self, sweep):
        rows = collect(sweep)
        assert [row["run"] for row in rows] == ["1", "0", "6", "7", "2", "3", "4", "5", "8", "10"]
        statuses = ["finished", "finished", "interrupted", "finished", "running", "failed"] + ["unreadable"] * 4
        assert [row["status"] for row in rows] == statuses
        assert rows[0]["varied"] == {"cell": "lstm", "seed": "1"}  # data=toy is the same in all
        assert (label(rows[0]), label(rows[-1])) == ("cell=lstm seed=1", "(10)")
        assert rows[7]["error"] == "no run.json"
        assert "'many'" in rows[9]["error"]
        assert (rows[0]["BLEU"], rows[3]["BLEU"], rows[0]["signatures"]["BLEU"]) == (35.5, None, SIGNATURE)

    def test_files_and_printed_table(self, sweep, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        leaderboard(sweep)
        out = capsys.readouterr().out
        assert max(map(len, out.split("\n"))) <= 80
        assert out.split("\n")[0].split() == [
            "run",
            "cell",
            "seed",
            "status",
            "BLEU",
            "TER",
            "val",
            "loss",
            "params",
            "tok/s",
            "seconds",
        ]
        assert "3: failed: KeyError: 'x|y' long" in out
        with (sweep / "leaderboard.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        assert len(table) == 10
        best = {
            "run": "1",
            "cell": "lstm",
            "seed": "1",
            "BLEU": "35.5",
            "seconds": "3723.4",
            "BLEU signature": SIGNATURE,
        }
        assert best.items() <= table[0].items()
        text = (sweep / "leaderboard.md").read_text()
        assert {line.replace("\\|", "").count("|") for line in text.split("\n")[:12]} == {13}
        assert f"- BLEU: `{SIGNATURE}`" in text
        assert min(png_size(sweep / "leaderboard.png")) > 400
        assert not list(sweep.glob(".leaderboard*"))

    @pytest.mark.parametrize("width", [50, 80, 200])
    def test_terminal_keeps_what_matters(self, sweep, width):
        lines = terminal(collect(sweep), width).split("\n")
        assert max(map(len, lines)) <= width
        assert {"run", "status", "BLEU", "cell", "seed"} <= set(lines[0].split())
        assert ("seconds" in lines[0]) == (width > 50)

    def test_bars(self, sweep):
        (axes,) = leaderboard_figure(collect(sweep)).axes
        assert [bar.get_width() for bar in axes.patches] == [35.5, 30.0, 20.0] + [0.0] * 7
        ticks = [tick.get_text() for tick in axes.get_yticklabels()]
        assert ticks[:2] == ["cell=lstm seed=1", "cell=gru seed=1"]
        remarks = [text.get_text() for text in axes.texts]
        assert remarks[:5] == ["35.5", "30.0", "20.0 (interrupted)", "finished", "running"]
        assert remarks[5].startswith("failed: KeyError: 'x|y'")
        assert axes.get_xlabel() == SIGNATURE

    @pytest.mark.parametrize(("metric", "order"), [("F1", ["a", "c", "b"]), ("bits per character", ["b", "c", "a"])])
    def test_other_tasks_are_ranked_by_their_own_metric(self, tmp_path, metric, order):
        for name, value in {"a": 3.0, "b": 1.0, "c": 2.0}.items():
            (tmp_path / name).mkdir()
            test = {metric: {"value": value, "signature": "of:x"}, "second": {"value": -value, "signature": "of:y"}}
            (tmp_path / name / "run.json").write_text(json.dumps(run_json(test=test)))
        rows = collect(tmp_path)
        assert [row["run"] for row in rows] == order
        (axes,) = leaderboard_figure(rows).axes
        assert axes.get_xlabel() == "of:x"
        assert ("lower is better" in axes.get_title(loc="left")) == (metric != "F1")

    def test_without_bleu_the_lowest_validation_loss_wins(self, tmp_path):
        for name, loss in {"a": 3.0, "b": 1.0, "c": 2.0}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "run.json").write_text(json.dumps(run_json(val_loss=loss)))
        rows = collect(tmp_path)
        assert [row["run"] for row in rows] == ["b", "c", "a"]
        assert "lower is better" in leaderboard_figure(rows).axes[0].get_title(loc="left")
        assert "- " not in markdown(rows).split("\n\n")[-1]

    def test_many_jobs_and_one(self, sweep):
        rows = collect(sweep)
        figure = leaderboard_figure(rows * 10)
        assert len(figure.axes[0].patches) == MOST
        assert "of 100 jobs" in figure.axes[0].get_title(loc="left")
        assert len(leaderboard_figure(rows[-1:]).axes[0].patches) == 1

    def test_refused(self, sweep):
        with pytest.raises(UserError, match="no such folder"):
            collect(sweep / "missing")
        with pytest.raises(UserError, match="one run, not a sweep"):
            collect(sweep / "0")
        with pytest.raises(UserError, match="no job"):
            collect(sweep / "5")

    def test_command(self, sweep, capsys):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args([str(sweep)])) == 0
        assert str(sweep / "leaderboard") in capsys.readouterr().out


def test_an_output_is_written_atomically(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_write(path) as temporary:
        temporary.write_text("half, then a lone \ud800", encoding="utf-8")
    assert [item.read_text() for item in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (950, "950"),
        (999.6, "1k"),
        (12_345, "12.3k"),
        (4_100_000, "4.1M"),
        (5e-4, "5e-4"),
        (1.25e-5, "1.25e-5"),
    ],
)
def test_compact(number, text):
    assert compact(number) == text


def test_duration_and_shorten():
    assert duration(3723.4) == "1:02:03"
    assert duration(59.9) == "0:01:00"
    assert (shorten("abcdef", 4), shorten("abcd", 4)) == ("abc…", "abcd")
