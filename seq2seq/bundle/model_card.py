"""The model card: a bundle's README.md, with the front matter for model hubs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Scores = Mapping[str, Mapping[str, Any]]
"""The result of `seq2seq.scoring.Scores.as_dict`: {"BLEU": {"value": 37.3, "signature": "nrefs:1|…"}, …}."""

METRIC_TYPES = {
    "BLEU": "bleu",
    "chrF": "chrf",
    "chrF++": "chrf",
    "TER": "ter",
    "WER": "wer",
    "WER-words": "wer",
    "F1": "f1",
    "Exact": "exact_match",
}
"""The names of the metrics on model hubs."""


def model_card(
    *,
    name: str,
    summary: str,
    task: str,
    use: str,
    languages: Sequence[str],
    dataset: str,
    data: str,
    sizes: Mapping[str, int],
    scores: Mapping[str, Scores],
    command: str,
    provenance: Mapping[str, Any],
    license: str | None = None,
) -> str:
    """The card as Markdown.

    Args:
        name: the model's name.
        summary: one sentence that says what the model does.
        task: the task's name on model hubs: "translation", "token-classification", ….
        use: how to use the bundle, in Markdown.
        languages: codes of source and target language.
        dataset: the short name of the training data; `data` describes it in Markdown: origin, splits, licence.
        sizes: numbers of parameters, sentence pairs, tokens of each vocabulary, …, by name.
        scores: by test set, then by metric, each with its signature.
        command: the command that trains the model again.
        provenance: all that affects the result: versions, seed, fingerprint of the data.
        license: an identifier that model hubs know; None writes none.
    """
    parts = [
        _front_matter(name, task, languages, dataset, scores, license),
        f"# {name}\n\n{summary} Trained with seq2seq, a framework of recurrent networks.\n",
        f"## Data\n\n{data.strip()}\n",
        "## Sizes\n\n" + _table(("what", "count"), [(what, f"{count:,}") for what, count in sizes.items()]),
        "## Scores\n\n" + _score_table(scores),
        f"## How to use\n\n{use.strip()}\n",
        f"## How it was made\n\n```sh\n{command.strip()}\n```\n\n" + _table(("", ""), provenance.items()),
    ]
    return "\n".join(parts)


def _front_matter(
    name: str, task: str, languages: Sequence[str], dataset: str, scores: Mapping[str, Scores], license: str | None
) -> str:
    """YAML in the layout of https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    import yaml

    results = [
        {
            "task": {"type": task, "name": f"{task} {'-'.join(dict.fromkeys(languages))}"},
            "dataset": {"type": dataset, "name": dataset, "split": split},
            "metrics": [_metric(metric, score) for metric, score in by_metric.items()],
        }
        for split, by_metric in scores.items()
    ]
    meta: dict[str, Any] = {
        "language": [code for code in dict.fromkeys(languages) if len(code) <= 3],  # without the names of label sets
        **({"license": license} if license else {}),
        "library_name": "seq2seq-recurrent",
        "pipeline_tag": task,
        "tags": [task, "recurrent-neural-network"],
        "datasets": [dataset],
        "metrics": sorted({METRIC_TYPES.get(metric, metric) for scored in scores.values() for metric in scored}),
        "model-index": [{"name": name, "results": results}],
    }
    return f"---\n{yaml.safe_dump(meta, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def _metric(name: str, score: Mapping[str, Any]) -> dict[str, Any]:
    metric = {"type": METRIC_TYPES.get(name, name), "name": name, "value": round(float(score["value"]), 2)}
    return metric | {"args": {"signature": score["signature"]}}


def _score_table(scores: Mapping[str, Scores]) -> str:
    rows = [
        (split, metric, f"{score['value']:.2f}{_interval(score)}", f"`{score['signature']}`")
        for split, by_metric in scores.items()
        for metric, score in by_metric.items()
    ]
    head = ("test set", "metric", "value [95% interval]", "signature")
    return _table(head, rows) if rows else "None were computed.\n"


def _interval(score: Mapping[str, Any]) -> str:
    return f" [{score['low']:.2f}, {score['high']:.2f}]" if "low" in score else ""


def _table(header: Sequence[str], rows: Any) -> str:
    """A Markdown table. Bars are escaped, as they would end a cell, even inside backticks."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
