"""The end of a run: the best weights are scored on the test splits, drawn, and bundled with their model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seq2seq import build
from seq2seq.bundle import Bundle, save_bundle
from seq2seq.card import model_card
from seq2seq.corpora import TranslationData
from seq2seq.errors import UserError
from seq2seq.reporting.attention import AttentionMap, attention_maps
from seq2seq.reporting.curves import learning_curves
from seq2seq.reporting.lengths import bleu_by_length
from seq2seq.reporting.whole import whole
from seq2seq.scoring import Scorer, Scores
from seq2seq.search import SearchOptions
from seq2seq.tasks.translation import TranslationTask
from seq2seq.text import BOS, EOS, PAD
from seq2seq.translator import Translation, Translator

ATTENTION_MAPS = 4  # sentences in attention.png


class Outcome(NamedTuple):
    """What training leaves behind."""

    data: TranslationData
    task: TranslationTask
    checkpoint: Path | None  # the best one; None where training ended before the first validation
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]


def finish(outcome: Outcome, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Score, draw and bundle; returns what the run's record is to hold besides: validation metrics and test scores.

    Leaves in `folder`: bundle/, curves.png, for attention attention.png, and for each test split
    SPLIT.translations.txt and bleu_by_length.SPLIT.png.
    """
    validation = restore(outcome)
    translator = Translator(bundle(outcome))
    tests = {}
    for split in outcome.data.corpus.splits[2:]:
        sources, references = outcome.data.text(split)
        found = translator.translate_full(sources)
        tests[split] = _score(split, folder, sources, references, [best[0].text for best in found])
    draw_curves(folder)
    if outcome.task.model.decoder.context.attends:
        draw_attention(translator, outcome.data.text("val")[0], folder / "attention.png")
    first = next(iter(tests.values()), Scores()).as_dict()
    scored = {split: scores.as_dict() for split, scores in tests.items()}
    save(outcome, folder / "bundle", scored, {**record, **validation})
    _show(scored, folder)
    return {**validation, "test": first, "tests": scored}


def restore(outcome: Outcome) -> dict[str, float | None]:
    """Load the best checkpoint's weights into the model; returns the validation metrics that it had."""
    names = ("val_loss", "val_perplexity", "val_bleu", "val_chrf")
    outcome.task.eval()
    if outcome.checkpoint is None:
        return dict.fromkeys(names)
    state = torch.load(outcome.checkpoint, map_location="cpu", weights_only=True)
    outcome.task.load_state_dict(state["state_dict"])
    metrics: dict[str, float | None] = state["seq2seq_metrics"]
    return metrics


def bundle(outcome: Outcome) -> Bundle:
    """The trained model as a bundle in memory."""
    options = SearchOptions(**{"bos": BOS, "eos": EOS, "pad": PAD, **outcome.config["search"]})
    nodes = {name: outcome.config[name] for name in build.MODEL_NODES}
    return Bundle(outcome.task.model, outcome.data.tokenizers, nodes, {}, options, dict(outcome.provenance))


def save(outcome: Outcome, folder: Path, tests: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write the bundle and its card."""
    corpus, provenance = outcome.data.corpus, outcome.provenance
    statistics = outcome.data.statistics
    sentences = outcome.data.text("val")[0]
    card = model_card(
        name=str(outcome.config["name"]),
        languages=(corpus.source_language, corpus.target_language),
        dataset=corpus.name,
        data=f"{corpus.name}: "
        + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in statistics.items() if key != "vocabulary"),
        sizes={
            "parameters": record["parameters"],
            "training pairs": statistics["pairs"],
            "source pieces": len(outcome.data.tokenizers.source),
            "target pieces": len(outcome.data.tokenizers.target),
        },
        scores=tests,
        command=provenance["command"],
        provenance={key: value for key, value in provenance.items() if key not in ("command", "data_statistics")},
        example=next((sentence for sentence in sentences if sentence.strip()), ""),
    )
    save_bundle(
        folder,
        model=outcome.task.model,
        config=outcome.config,
        tokenizers=outcome.data.tokenizers,
        metrics={
            "tests": tests,
            **{key: record[key] for key in ("val_loss", "val_perplexity", "val_bleu", "val_chrf")},
        },
        search=outcome.config["search"],
        card=card,
        provenance=provenance,
    )


def draw_curves(folder: Path) -> None:
    """curves.png from metrics.csv; nothing where nothing was logged yet (Ctrl-C in the first steps)."""
    if (folder / "metrics.csv").exists():
        try:
            learning_curves(folder / "metrics.csv", folder / "curves.png")
        except UserError as error:
            print(f"no curves: {error}")


def draw_attention(translator: Translator, sources: Sequence[str], path: Path) -> None:
    """Heat maps of a few validation sentences of middling length."""
    chosen = [text for text in sources if 5 <= len(text.split()) <= 14][:ATTENTION_MAPS] or list(
        sources[:ATTENTION_MAPS]
    )
    found = translator.translate_full(chosen, translator.options(n_best=1, return_attention=True))
    maps = [_map(translator, text, best[0]) for text, best in zip(chosen, found, strict=True)]
    attention_maps([item for item in maps if item is not None], path)


def _map(translator: Translator, text: str, best: Translation) -> AttentionMap | None:
    weights = best.hypothesis.attention
    if weights is None:
        return None
    tokenizers = translator.bundle.tokenizers
    source = [*tokenizers.source.pieces(tokenizers.source.encode(text)), "</s>"]
    target = tokenizers.target.pieces(best.hypothesis.tokens) + ["</s>"] * best.hypothesis.finished
    return AttentionMap(source, target, weights[: len(target), : len(source)].numpy())


def _score(
    split: str, folder: Path, sources: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]
) -> Scores:
    with whole(folder / f"{split}.translations.txt") as path:
        path.write_text("".join(f"{line}\n" for line in hypotheses), encoding="utf-8", newline="\n")
    bleu_by_length(sources, hypotheses, references, folder / f"bleu_by_length.{split}.png")
    return Scorer()(hypotheses, references)


def _show(tests: Mapping[str, Mapping[str, Mapping[str, Any]]], folder: Path) -> None:
    for split, scores in tests.items():
        for name, score in scores.items():
            print(f"{split}: {name:4} = {score['value']:5.2f}  {score['signature']}")
    print(f"pictures: {folder}/*.png")
    print(f"bundle: {folder / 'bundle'}")
