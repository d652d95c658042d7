"""The leaderboard as a picture: one bar a job, the best on top, and what became of those without a score."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seq2seq.reporting import style
from seq2seq.reporting.configurations import Comparison
from seq2seq.reporting.tables import LOWER_IS_BETTER, Row, label, ranked_by
from seq2seq.reporting.wording import finite, one_line, shorten

MOST = 60  # bars: more would not be read
COLOURS = {"finished": style.BLUE, "pruned": style.GREY, "interrupted": style.ORANGE, "running": style.ORANGE}


def leaderboard_figure(rows: Sequence[Row], names: Sequence[str] | None = None) -> Figure:
    """Bars of the rows of `leaderboard.collect` in their order: the number of `tables.ranked_by`; `names` are theirs.

    A job without a score is marked by its status and error; one that has a score but has not finished is marked too.
    """
    metric = ranked_by(rows)
    shown = rows[:MOST]
    with style.house_style():
        figure = Figure(figsize=(7.2, 1.0 + 0.25 * max(len(shown), 2)), layout="constrained")
        axes = figure.add_subplot()
        values = [row[metric] if finite(row.get(metric)) else 0.0 for row in shown]
        colours = [COLOURS.get(row["status"], style.RED) for row in shown]
        bars = axes.barh(range(len(shown)), values, height=0.7, color=colours)
        ends = [_whisker(axes, place, row, metric) for place, row in enumerate(shown)]
        for bar, row, end in zip(bars, shown, ends, strict=True):
            colour = style.INK if row["status"] in ("finished", "pruned") else style.RED
            axes.annotate(
                _remark(row, metric),
                (max(bar.get_width(), end), bar.get_y() + bar.get_height() / 2),
                xytext=(4, 0),
                textcoords="offset points",
                verticalalignment="center",
                fontsize=8,
                color=colour,
            )
        axes.set_yticks(
            range(len(shown)), [shorten(name, 60) for name in (names or [label(row) for row in rows])[:MOST]]
        )
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.14 * max([*values, *ends]) or 1)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        style.title(axes, _title(rows, metric))
        signatures = sorted({row["signatures"][metric] for row in rows if metric in row["signatures"]})
        whiskers = ["lines: 95% interval, bootstrap over the test set"] if any(ends) else []
        axes.set_xlabel("\n".join([*signatures, *whiskers]) or "loss per target token", fontsize=7)
        axes.get_xaxis().set_visible(bool(metric))
    return figure


def over_figure(comparison: Comparison) -> Figure:
    """A bar a configuration: its mean, the interval of the mean, and each run as a dot."""
    metric, shown = comparison.metric, comparison.configurations[:MOST]
    with style.house_style():
        figure = Figure(figsize=(7.2, 1.2 + 0.3 * max(len(shown), 2)), layout="constrained")
        axes = figure.add_subplot()
        summaries = [each.summaries[metric] for each in shown]
        axes.barh(range(len(shown)), [found.mean for found in summaries], height=0.7, color=style.BLUE)
        ends = [max(each.values[metric]) for each in shown]
        for place, (each, found) in enumerate(zip(shown, summaries, strict=True)):
            values = each.values[metric]
            axes.plot(values, [place] * len(values), "o", color=style.ORANGE, markeredgecolor=style.INK)
            if found.interval is not None:
                ends[place] = max(ends[place], found.interval[1])
                margin = [[found.mean - found.interval[0]], [found.interval[1] - found.mean]]
                axes.errorbar([found.mean], [place], xerr=margin, ecolor=style.INK, elinewidth=1, capsize=2)
            text = f"{found.mean:.2f}  n={found.n}"
            axes.annotate(text, (ends[place], place), (6, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(shown)), [shorten(each.name, 60) for each in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.18 * max(ends) or 1)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        lower = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        style.title(axes, f"{'Validation loss' if metric == 'val_loss' else f'Test {metric}'}{lower}: means of runs")
        over = ", ".join(comparison.over)
        axes.set_xlabel(f"dots: runs, which differ in {over}; lines: 95% t interval of the mean", fontsize=7)
    return figure


def _whisker(axes: Axes, place: int, row: Row, metric: str) -> float:
    """Draw a job's interval, if it has one; returns its upper end, or 0."""
    if not finite(row.get(metric)) or metric not in row["intervals"]:
        return 0.0
    low, high = row["intervals"][metric]
    axes.errorbar([(low + high) / 2], [place], xerr=[(high - low) / 2], ecolor=style.INK, elinewidth=1, capsize=2)
    return float(high)


def _remark(row: Row, metric: str) -> str:
    """The text at the end of a bar."""
    value = row.get(metric)
    if not finite(value):
        return shorten(f"{row['status']}: {one_line(row['error'])}" if row["error"] else row["status"], 60)
    number = f"{value:.3f}" if metric in ("val_loss", "bits per character") else f"{value:.1f}"
    return number if row["status"] == "finished" else f"{number} ({row['status']})"


def _title(rows: Sequence[Row], metric: str) -> str:
    title = f"Test {metric}" if metric != "val_loss" else "Validation loss"
    title += " (lower is better)" if metric in LOWER_IS_BETTER else ""
    title = title if metric else "No job has a score"
    return title if len(rows) <= MOST else f"{title}: the first {MOST} of {len(rows)} jobs"
