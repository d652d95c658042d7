"""The results as a table in Markdown and a picture."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

Results = dict[str, Any]


def write(results: Results, folder: Path) -> None:
    """results.md, and speed.png where matplotlib is."""
    (folder / "results.md").write_text(text(results), encoding="utf-8")
    with contextlib.suppress(ImportError):
        picture(results, folder / "speed.png")


def text(results: Results) -> str:
    """All tables."""
    parts = [_facts(results), _checks(results), _training(results), _others(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(results: Results) -> str:
    facts, peaks = results.get("facts", {}), results.get("peaks", {})
    rates = [
        f"{name} {case['flops'] / 1e12:.1f} TFLOP/s"
        for name, case in peaks.items()
        if isinstance(case, dict) and case.get("flops")
    ]
    if "bytes" in peaks.get("copy", {}):
        rates.append(f"copy {peaks['copy']['bytes'] / 1e12:.2f} TB/s")
    if "microseconds" in peaks.get("launch", {}):
        rates.append(f"a launch {peaks['launch']['microseconds']:.1f} µs")
    where = facts.get("card", facts.get("device", "?"))
    return f"{where}, torch {facts.get('torch')}, Python {facts.get('python')}. {'; '.join(rates)}."


def _checks(results: Results) -> str:
    rows = ["| section | cases | failed | seconds |", "|---|---|---|---|"]
    for name, seconds in results.get("seconds", {}).items():
        cases = {key: case for key, case in results.get(name, {}).items() if isinstance(case, dict)}
        failed = [key for key, case in cases.items() if case.get("ok") is False]
        shown = f"{len(failed)}: {', '.join(failed[:4])}" if failed else "0"
        rows.append(f"| {name} | {len(cases)} | {shown} | {seconds} |")
    return "\n".join(rows)


def _training(results: Results) -> str:
    rows = [
        "| training | tokens | run | tokens/s | MFU | in kernels | kernels | GB | × auto |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results.get("speed", {}).items():
        for run, figures in (case.get("runs") or {}).items() if isinstance(case, dict) else ():
            if "tokens_per_second" not in figures:
                continue
            ratio = case["runs"].get("auto", {}).get("seconds", 0) / figures["seconds"]
            shares = f"{_percent(figures.get('mfu'))} | {_percent(figures.get('share_in_kernels'))}"
            counts = f"{figures.get('kernels', '–')} | {figures.get('gigabytes', '–')}"
            rate = f"{figures['tokens_per_second']:,.0f}"
            rows.append(f"| {name} | {case['tokens']} | {run} | {rate} | {shares} | {counts} | {ratio:.2f} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _others(results: Results) -> str:
    rows = ["| case | ms | figure |", "|---|---|---|"]
    for name, case, taken in _measured(results, "layers"):
        ratios = [(key[16:], value) for key, value in case.items() if key.startswith("cudnn_time_over")]
        figures = ", ".join(f"{key} {value:.2f}" for key, value in ratios)
        rows.append(f"| {name} | {1000 * taken['cudnn']:.2f} | cuDNN's time over: {figures} |")
    for name, case, taken in _measured(results, "loss"):
        figures = f"{case.get('gigabytes', 0):.2f} GB, {case['flops'] / 1e12:.1f} TFLOP/s"
        rows.append(f"| loss {name} | {1000 * taken:.2f} | {figures} |")
    for name, case, taken in _measured(results, "searching"):
        figures = f"{case['sentences_per_second']:,.0f} sentences/s"
        figures += f", {_percent(case['share_in_kernels'])} in kernels" if "share_in_kernels" in case else ""
        rows.append(f"| search {name} | {1000 * taken:.0f} | {figures} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _measured(results: Results, section: str) -> list[tuple[str, Any, Any]]:
    cases = [(name, case) for name, case in results.get(section, {}).items() if isinstance(case, dict)]
    return [(name, case, case["seconds_each"]) for name, case in cases if "seconds_each" in case]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}%"


def picture(results: Results, path: Path) -> None:
    """Tokens a second of each contest, a group of bars each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = {
        name: case["runs"]
        for name, case in results.get("speed", {}).items()
        if isinstance(case, dict) and case.get("runs")
    }
    cases = {name: runs for name, runs in cases.items() if "tf32" in name or "float32" in name}
    if not cases:
        return
    kinds = list(dict.fromkeys(kind for runs in cases.values() for kind in runs))
    figure, axes = pyplot.subplots(figsize=(10, 0.5 * len(cases) * max(1, len(kinds) / 3) + 1.5))
    for number, kind in enumerate(kinds):
        heights = [runs.get(kind, {}).get("tokens_per_second", 0) for runs in cases.values()]
        places = [row + 0.8 * number / len(kinds) for row in range(len(cases))]
        axes.barh(places, heights, height=0.8 / len(kinds), label=kind)
    axes.set_yticks([row + 0.4 for row in range(len(cases))], list(cases))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("target tokens a second")
    axes.legend()
    axes.set_title(f"Training on {results.get('facts', {}).get('card', results.get('facts', {}).get('device', '?'))}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
