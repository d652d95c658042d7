"""Captioning as a task: float sequences (image regions, frames) to text, by the model and search of translation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from seq2seq.corpora.feature_data import FeatureData
from seq2seq.corpora.store import Frames
from seq2seq.errors import UserError
from seq2seq.inference.captioner import Captioner
from seq2seq.models import EncoderDecoder
from seq2seq.reporting.attention import AttentionMap, attention_maps
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.scoring import INTERVALS, Scorer
from seq2seq.training.base import Card, Outcome, Scored
from seq2seq.training.tasks import length_limits
from seq2seq.training.tasks.outputs import ATTENTION_MAPS, bundle
from seq2seq.training.tasks.pair_data import pair_data
from seq2seq.training.tasks.translation import Translation, test_metrics

USE = """\
```python
from pathlib import Path
from seq2seq.inference.captioner import Captioner
from seq2seq.models import EncoderDecoder
from seq2seq.corpora.features import read_features

captioner = Captioner.load("BUNDLE")
captioner.caption(read_features(Path("features.npz")))  # rows of {width} numbers
```

```sh
seq2seq predict-file BUNDLE features.npz output.txt
```
"""


class Captioning(Translation):
    """1-to-N, and N-to-M where the source is numbers: features to text."""

    name = "captioning"

    def check(self, config: Mapping[str, Any], trial: EncoderDecoder) -> None:
        """Raise `UserError` for outputs of equal length, too."""
        if config["search"].get("equal_length"):
            raise UserError("search.equal_length=true: rows of numbers and words of text are not of equal number")
        super().check(config, trial)

    def data(self, config: Mapping[str, Any]) -> FeatureData:
        """Read the features. Where files are read for an encoder of images, each row must be such an image."""
        corpus = dict(config["data"]["corpus"])
        if "width" in corpus and corpus["width"] is None:
            corpus["width"] = _pixels(config["encoder"])
        data = pair_data({**config, "data": {**config["data"], "corpus": corpus}}, FeatureData)
        assert isinstance(data, FeatureData)
        return data

    def sizes(self, data: FeatureData) -> dict[str, int]:
        """The width of the rows and the size of the target vocabulary."""
        return {"features": data.width, "target": len(data.tokenizers.target)}

    def describe(self, data: FeatureData) -> str:
        """Describe for the terminal how many sequences are trained on."""
        counts = data.statistics
        return (
            f"{data.corpus.name}, {counts['pairs']:,} sequences of rows of {data.width:,} numbers to train on "
            f"({counts['dropped_long']:,} over-long ones and {counts['dropped_empty']:,} without text dropped), "
            f"{counts['vocabulary']['target']:,} target tokens"
        )

    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """Captions and scores of each test split; heat maps where there is attention."""
        captioner, corpus = Captioner(bundle(outcome)), outcome.data.corpus
        scorer, tests = Scorer(test_metrics(outcome.config), language=corpus.target_language), {}
        for split in corpus.splits[2:]:
            frames = (frames for frames, _ in corpus.examples(split))
            best = [hypotheses[0] for hypotheses in captioner.caption_stream(frames)]
            length_limits.report_cut_off(split, (each.hypothesis for each in best), captioner.bundle.search)
            captions = [each.text for each in best]
            references = [text for _, text in corpus.examples(split)]
            write_lines(references, folder / f"{split}.references.txt")
            write_lines(captions, folder / f"{split}.captions.txt")
            tests[split] = scorer(captions, references, INTERVALS).as_dict()
        if captioner.bundle.model.decoder.context.attends:
            shown = islice((frames for frames, _ in corpus.examples("val") if len(frames) > 1), ATTENTION_MAPS)
            draw_attention(captioner, shown, folder / "attention.png")
        return tests

    def card(self, outcome: Outcome) -> Card:
        """From rows of numbers to a language."""
        corpus = outcome.data.corpus
        summary = f"Says {corpus.source_language} in {corpus.target_language}."
        return Card(summary, "image-to-text", USE.format(width=outcome.data.width))


def draw_attention(captioner: Captioner, sequences: Iterable[Frames], path: Path) -> None:
    """Heat maps of a few sequences: which region (or frames) each word was read from."""
    chosen = list(sequences)
    if not chosen:
        return
    options = captioner.options(n_best=1, return_attention=True)
    hypotheses = [best[0].hypothesis for best in captioner.caption_stream(chosen, options)]
    tokens_of = captioner.bundle.tokenizers.target.tokens
    maps = []
    for frames, best in zip(chosen, hypotheses, strict=True):
        assert best.attention is not None
        rows, words = _places(len(frames), captioner.bundle.model.encoder.stride), tokens_of(best.tokens)
        words += ["</s>"] * best.finished
        maps.append(AttentionMap(rows, words, best.attention[: len(words), : len(rows)].numpy()))
    attention_maps(maps, path)


def _places(count: int, stride: int) -> Sequence[str]:
    return [str(first + 1) for first in range(0, count, stride)]


def _pixels(encoder: Mapping[str, Any]) -> int | None:
    """Height · width of the images that an encoder expects, if it does."""
    sizes = encoder.get("height"), encoder.get("width")
    return sizes[0] * sizes[1] if isinstance(sizes[0], int) and isinstance(sizes[1], int) else None
