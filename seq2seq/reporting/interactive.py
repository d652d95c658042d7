"""Plotly figures of a report, as JSON that the page draws in its light or dark theme.

Plotly interprets some HTML in labels (https://plotly.com/python/text-and-font-styling), so all texts, which are
untrusted data, are escaped. `meta.group` of a trace is the number of its group, for the page's check boxes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from seq2seq.reporting import style
from seq2seq.reporting.attention import AttentionMap
from seq2seq.reporting.series import Chart, Lengths, Line
from seq2seq.reporting.wording import shorten

Json = dict[str, Any]
CELL, LETTER = 26, 8  # pixels of a cell of a heat map, and of a letter of its labels
MARKED = 60  # points: a longer curve has no markers


def curves_figure(chart: Chart, names: Sequence[str], last: float) -> Json:
    """A line for each group up to the step `last`, with a band of one standard deviation if it has several seeds."""
    figure = go.Figure()
    for line in chart.lines:
        if line.spread.any():
            figure.add_trace(_band(line))
        figure.add_trace(_curve(line, escape(names[line.group], quote=False)))
    figure.update_layout(hovermode="x unified", height=270, margin={"l": 52, "r": 12, "t": 8, "b": 42})
    figure.update_xaxes(title_text="training steps", range=[0, 1.03 * max(last, 1)])
    zero = "tozero" if chart.rate else "normal"
    figure.update_yaxes(type="log" if chart.logarithmic else "linear", rangemode=zero, automargin=True, nticks=7)
    return _json(figure)


def _curve(line: Line, name: str) -> go.Scatter:
    several = bool(line.spread.any())
    return go.Scatter(
        x=line.steps.tolist(),
        y=line.values.tolist(),
        customdata=line.spread.tolist(),
        name=name,
        mode="lines+markers" if len(line.steps) <= MARKED else "lines",
        line={"color": style.series(line.group), "dash": style.dash(line.group), "width": 2},
        marker={"size": 5},
        hovertemplate="%{y:.4~g} ± %{customdata:.2~g}" if several else "%{y:.4~g}",
        meta={"group": line.group},
    )


def _band(line: Line) -> go.Scatter:
    lower, upper = line.values - line.spread, line.values + line.spread
    return go.Scatter(
        x=np.concatenate([line.steps, line.steps[::-1]]).tolist(),
        y=np.concatenate([upper, lower[::-1]]).tolist(),
        fill="toself",
        fillcolor=style.series(line.group),
        opacity=0.18,
        mode="none",
        hoverinfo="skip",
        meta={"group": line.group},
    )


def lengths_figure(lengths: Lengths, names: Sequence[str]) -> Json:
    """A bar for each group in each bucket of source length, with one standard deviation over seeds."""
    figure = go.Figure()
    for bars in lengths.bars:
        spread = {"type": "data", "array": list(bars.spread), "visible": any(bars.spread), "thickness": 1.2, "width": 3}
        figure.add_trace(
            go.Bar(
                x=[f"{words}<br>n={count}" for words, count in zip(lengths.words, lengths.sentences, strict=True)],
                y=list(bars.values),
                error_y=spread,
                name=escape(names[bars.group], quote=False),
                marker={"color": style.series(bars.group), "pattern": {"shape": PATTERNS[bars.group % len(PATTERNS)]}},
                hovertemplate="%{y:.2f}",
                meta={"group": bars.group},
            )
        )
    figure.update_layout(
        hovermode="x unified", height=300, bargap=0.25, bargroupgap=0.06, margin={"l": 48, "r": 12, "t": 8, "b": 60}
    )
    figure.update_xaxes(title_text="words of the source (n sentences)", type="category")
    figure.update_yaxes(rangemode="tozero", title_text=lengths.metric, automargin=True)
    return _json(figure)


PATTERNS = ("", "/", ".", "x")
"""Fill patterns of bars, like `style.DASHES` for lines."""


def attention_figure(item: AttentionMap) -> Json:
    """A heat map; rows are output tokens, columns source tokens. Hovering over a cell shows its tokens and weight."""
    source, target = ([escape(shorten(token, 24), quote=False) for token in side] for side in item[:2])
    figure = go.Figure(
        go.Heatmap(
            z=np.round(item.weights, 4).tolist(),
            text=[[f"{one} ← {other}" for other in source] for one in target],
            hovertemplate="%{text}<br>weight %{z:.3f}<extra></extra>",
            zmin=0,
            zmax=1,
            autocolorscale=True,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    left, top = (12 + LETTER * max(map(len, side)) for side in (item.target_tokens, item.source_tokens))
    left, top = min(left, 200), min(top, 200)
    figure.update_layout(
        width=left + 14 + CELL * len(source),
        height=top + 10 + CELL * len(target),
        margin={"l": left, "r": 14, "t": top, "b": 10},
    )
    figure.update_xaxes(side="top", tickangle=-90, tickvals=list(range(len(source))), ticktext=source, showgrid=False)
    figure.update_yaxes(autorange="reversed", tickvals=list(range(len(target))), ticktext=target, showgrid=False)
    return _json(figure)


def _json(figure: go.Figure) -> Json:
    figure.update_layout(template=None, showlegend=False)  # the page sets the template: fonts, grids, colours
    content: Json = json.loads(figure.to_json())
    return content
