"""Optuna's figures of a study, as one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import optuna
import plotly.io
from optuna import visualization as draw
from optuna.trial import TrialState

from seq2seq.runtime.atomic_files import atomic_write

CONFIG = {"displaylogo": False, "responsive": True}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font-family: sans-serif; max-width: 70em; margin: 1em auto; padding: 0 1em }}</style></head>
<body><h1>{title}</h1>
{figures}
</body></html>
"""


def save_plots(study: optuna.Study, metric: str, path: Path) -> None:
    """Write figures of history, intermediate values, slices, parallel coordinates and importances into the page `path`.

    Importances need two completed trials with different values; without a completed trial, nothing is written.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return
    plots: list[Callable[[], Any]] = [
        lambda: draw.plot_optimization_history(study, target_name=metric),
        lambda: draw.plot_intermediate_values(study).update_layout(
            title=f"{metric} at each validation", xaxis_title="Validation", yaxis_title=metric
        ),
        lambda: draw.plot_slice(study, target_name=metric),
        lambda: draw.plot_parallel_coordinate(study, target_name=metric),
    ]
    if len({trial.value for trial in done}) > 1:
        plots.append(lambda: draw.plot_param_importances(study, target_name=metric))
    figures = [
        plotly.io.to_html(plot(), full_html=False, include_plotlyjs=number == 0, config=CONFIG)
        for number, plot in enumerate(plots)
    ]
    with atomic_write(path) as temporary:
        page = PAGE.format(title=escape(study.study_name), figures="\n".join(figures))
        temporary.write_text(page, encoding="utf-8", newline="\n")
