"""The output of a trained model for a few sentences: tokens, their probabilities, and attention weights. They are
computed with the run's bundle, so runs need not store them, and any sentence can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.bundle.format import Bundle, load_bundle
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.translation import Translation
from seq2seq.inference.translator import Translator
from seq2seq.models.task_descriptors import TASKS
from seq2seq.reporting.attention import AttentionMap
from seq2seq.reporting.runs import Notes, Run
from seq2seq.text import columns_of, sentence_of


class Inspected(NamedTuple):
    """One output: its tokens, the log-probability of each given those before it, and the attention if the model has
    it."""

    tokens: Sequence[str]
    log_probs: Sequence[float]
    attention: AttentionMap | None = None


def inspect(run: Run, sources: Sequence[str], trusted: Sequence[str], notes: Notes) -> list[Inspected]:
    """The best output for each source, on the CPU; empty, with a note, if the run's model cannot be loaded."""
    task = TASKS.get(run.task)
    if not run.bundle.is_dir() or task is None or task.source != "text":
        return []
    try:
        bundle = load_bundle(run.bundle, trusted=trusted)
        if task.label_unit:
            return _labelled(bundle, sources)
        return _translated(Translator(bundle, unknown_tags=True), sources)
    except (UserError, OSError) as error:
        notes.add(run.bundle, f"the model of {run.name} was not run ({error})")
        return []


def _translated(translator: Translator, sources: Sequence[str]) -> list[Inspected]:
    attends = translator.bundle.model.decoder.context.attends
    translations = translator.translate_full(sources, translator.options(n_best=1, return_attention=attends))
    inspected = []
    for source, (best, *_) in zip(sources, translations, strict=True):
        tokens = _tokens(translator, best)
        inspected.append(Inspected(tokens, best.hypothesis.token_log_probs, attention_map(translator, source, best)))
    return inspected


def _tokens(translator: Translator, best: Translation) -> list[str]:
    return translator.bundle.tokenizers.target.tokens(best.hypothesis.tokens) + ["</s>"] * best.hypothesis.finished


def attention_map(translator: Translator, source: str, best: Translation) -> AttentionMap | None:
    """The attention of a translation (from a search with `return_attention`); None without attention."""
    weights = best.hypothesis.attention
    if weights is None or not len(weights):
        return None
    tokenizer, stride = translator.bundle.tokenizers.source, translator.bundle.model.encoder.stride
    sentence = sentence_of(source, translator.bundle.tokenizers.factors)
    ids, columns = tokenizer.encode(sentence), columns_of(tokenizer)
    all_tokens = [*tokenizer.tokens(columns.first(ids) if columns else ids), "</s>"]
    positions = ["".join(all_tokens[i : i + stride]) for i in range(0, len(all_tokens), stride)]
    positions = positions[: weights.size(1)]  # the source may have been truncated
    tokens = _tokens(translator, best)
    return AttentionMap(positions, tokens, weights[: len(tokens), : len(positions)].numpy())


def _labelled(bundle: Bundle, sources: Sequence[str]) -> list[Inspected]:
    """WORD/LABEL for each word, or the text's label; empty if there may be several labels."""
    predictor = Predictor(bundle)
    if predictor.labels.form != "one":
        return []
    inspected = []
    for source, predicted in zip(sources, predictor.predict_stream(sources), strict=True):
        labels = [label for (label,) in predicted.labels]
        words = [word for word in source.split(" ") if word] if TASKS[bundle.task].label_unit == "word" else []
        tokens = [f"{word}/{label}" for word, label in zip(words, labels, strict=True)] if words else labels
        inspected.append(Inspected(tokens, predicted.probabilities.amax(1).log().tolist()))
    return inspected
