"""What a trained model says of a few sentences: each token of its output, how probable it was, and where attention
looked. The run's bundle is asked: what is shown is what it does, of any sentence, and runs need not store it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.bundle.format import Bundle, load_bundle
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.translator import Translation, Translator
from seq2seq.models.task_descriptors import TASKS
from seq2seq.reporting.attention import AttentionMap
from seq2seq.reporting.runs import Notes, Run


class Inspected(NamedTuple):
    """One output: its tokens, ln p of each given those before it, and the attention where the model has it."""

    pieces: Sequence[str]
    log_probs: Sequence[float]
    attention: AttentionMap | None = None


def inspect(run: Run, sources: Sequence[str], trusted: Sequence[str], notes: Notes) -> list[Inspected]:
    """The best output for each source, on the CPU; none, and a note, where there is no model that can be asked."""
    task = TASKS.get(run.task)
    if not run.bundle.is_dir() or task is None or task.source != "text":
        return []
    try:
        bundle = load_bundle(run.bundle, trusted=trusted)
        return _labelled(bundle, sources) if task.label_unit else _translated(Translator(bundle), sources)
    except (UserError, OSError) as error:
        notes.add(run.bundle, f"the model of {run.name} was not asked ({error})")
        return []


def _translated(translator: Translator, sources: Sequence[str]) -> list[Inspected]:
    attends = translator.bundle.model.decoder.context.attends
    found = translator.translate_full(sources, translator.options(n_best=1, return_attention=attends))
    inspected = []
    for source, (best, *_) in zip(sources, found, strict=True):
        pieces = _pieces(translator, best)
        inspected.append(Inspected(pieces, best.hypothesis.token_log_probs, attention_map(translator, source, best)))
    return inspected


def _pieces(translator: Translator, best: Translation) -> list[str]:
    return translator.bundle.tokenizers.target.pieces(best.hypothesis.tokens) + ["</s>"] * best.hypothesis.finished


def attention_map(translator: Translator, source: str, best: Translation) -> AttentionMap | None:
    """The attention of a translation that was searched for with `return_attention`; None without attention."""
    weights = best.hypothesis.attention
    if weights is None or not len(weights):
        return None
    tokenizer, stride = translator.bundle.tokenizers.source, translator.bundle.model.encoder.stride
    read = [*tokenizer.pieces(tokenizer.encode(source)), "</s>"]
    read = ["".join(read[i : i + stride]) for i in range(0, len(read), stride)][: weights.size(1)]  # it may be cut
    pieces = _pieces(translator, best)
    return AttentionMap(read, pieces, weights[: len(pieces), : len(read)].numpy())


def _labelled(bundle: Bundle, sources: Sequence[str]) -> list[Inspected]:
    """WORD/LABEL for each word, or the text's label; nothing where a word may have several."""
    predictor = Predictor(bundle)
    if predictor.labels.form != "one":
        return []
    inspected = []
    for source, found in zip(sources, predictor.predict_stream(sources), strict=True):
        labels = [label for (label,) in found.labels]
        words = [word for word in source.split(" ") if word] if TASKS[bundle.task].label_unit == "word" else []
        pieces = [f"{word}/{label}" for word, label in zip(words, labels, strict=True)] if words else labels
        inspected.append(Inspected(pieces, found.probabilities.amax(1).log().tolist()))
    return inspected
