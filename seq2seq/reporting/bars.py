"""The leaderboard as a bar chart: one bar for each job, the best on top; jobs without a score show their status."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seq2seq.reporting import style
from seq2seq.reporting.configurations import Comparison
from seq2seq.reporting.tables import LOWER_IS_BETTER, Row, label, ranked_by
from seq2seq.reporting.wording import finite, one_line, shorten

MOST = 60  # bars in a figure
COLOURS = {"finished": style.BLUE, "pruned": style.GREY, "interrupted": style.ORANGE, "running": style.ORANGE}


def leaderboard_figure(rows: Sequence[Row], names: Sequence[str] | None = None) -> Figure:
    """Bars for the rows of `leaderboard.collect`, in their order, of the metric of `tables.ranked_by`; `names` are
    their labels.

    A job without a score is labelled with its status and error; one that has a score but is not finished, with its
    status.
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
    """A bar for each configuration: its mean, the interval of the mean, and a dot for each run."""
    metric, shown = comparison.metric, comparison.configurations[:MOST]
    with style.house_style():
        figure = Figure(figsize=(7.2, 1.2 + 0.3 * max(len(shown), 2)), layout="constrained")
        axes = figure.add_subplot()
        summaries = [each.summaries[metric] for each in shown]
        axes.barh(range(len(shown)), [summary.mean for summary in summaries], height=0.7, color=style.BLUE)
        ends = [max(each.values[metric]) for each in shown]
        for place, (each, summary) in enumerate(zip(shown, summaries, strict=True)):
            values = each.values[metric]
            axes.plot(values, [place] * len(values), "o", color=style.ORANGE, markeredgecolor=style.INK)
            if summary.interval is not None:
                ends[place] = max(ends[place], summary.interval[1])
                margin = [[summary.mean - summary.interval[0]], [summary.interval[1] - summary.mean]]
                axes.errorbar([summary.mean], [place], xerr=margin, ecolor=style.INK, elinewidth=1, capsize=2)
            text = f"{summary.mean:.2f}  n={summary.n}"
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
    """Draw a job's interval, if it has one; return its upper end, or 0."""
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
