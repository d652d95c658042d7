"""SNIPS 2017-06 (Coucke et al. 2018): 14,484 utterances with slots and one of seven intents; licence CC0.

https://github.com/sonos/nlu-benchmark/tree/master/2017-06-custom-intent-engines
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seq2seq.corpora import readers
from seq2seq.corpora.downloads import fetch
from seq2seq.corpora.folders import write_file
from seq2seq.corpora.label_corpora import LabelCorpus, Row
from seq2seq.errors import UserError
from seq2seq.runtime.paths import data_root

URL = "https://raw.githubusercontent.com/sonos/nlu-benchmark/master/2017-06-custom-intent-engines/"
INTENTS = (
    "AddToPlaylist",
    "BookRestaurant",
    "GetWeather",
    "PlayMusic",
    "RateBook",
    "SearchCreativeWork",
    "SearchScreeningEvent",
)
SIZES = {"train": 13_084, "val": 700, "test": 700}
FORM = '{"tokens": ["play", "Moon"], "tags": ["O", "B-track"], "intent": "PlayMusic"}'


class Snips(LabelCorpus):
    """13,084 / 700 / 700 utterances; `labels` are `slots` (72 IOB2 tags) or `intents` (7).

    A split is a file of JSON objects, one a line, such as FORM: ROOT/snips/SPLIT.jsonl or ROOT/SPLIT.jsonl, plain or
    with .gz, .xz, .zst or .bz2, where ROOT is `root`, else the environment variable SEQ2SEQ_DATA, else the user's
    cache. If one is missing, all are written to ROOT/snips from the benchmark's own files, downloaded from `url`: its
    validation files are the test, and 700 utterances of its training files, shuffled with seed 1, are val.
    """

    source_language = "en"

    def __init__(self, labels: str = "slots", root: str | None = None, url: str = URL) -> None:
        if labels not in ("slots", "intents"):
            raise UserError(f"data.corpus.labels={labels!r} is not known; use slots or intents")
        self.labels, self.url = labels, url
        self.unit = "word" if labels == "slots" else "text"
        self.target_language = labels
        self._folder = data_root(root) / "snips"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return tuple(SIZES)

    def prepare(self) -> None:
        """Download and convert missing files. Raises `UserError` where that fails."""
        if any(self._existing(split) is None for split in self.splits):
            for split, utterances in self._download().items():
                lines = (json.dumps(utterance, ensure_ascii=False) for utterance in utterances)
                write_file(self._folder / f"{split}.jsonl", "".join(f"{line}\n" for line in lines))

    def files(self, split: str) -> tuple[Path, ...]:
        """The file of a split, or the path to write it to."""
        return (self._existing(split) or self._folder / f"{split}.jsonl",)

    def rows(self, split: str) -> Iterator[Row]:
        """The utterances of a split. Raises `UserError` for a line that is not like FORM."""
        (path,) = self.files(split)
        for number, line in enumerate(readers.lines(path), 1):
            try:
                item = json.loads(line)
                text, tags, intent = " ".join(item["tokens"]), " ".join(item["tags"]), str(item["intent"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{path}:{number}: is not of the form {FORM} ({type(error).__name__})") from None
            where = f"{path}:{number}: its text"
            labels = tags if self.labels == "slots" else intent
            yield Row(readers.one_line(text, where), readers.one_line(labels, where), path, number)

    def _existing(self, split: str) -> Path | None:
        folders = self._folder, self._folder.parent
        paths = (folder / f"{split}.jsonl{suffix}" for folder in folders for suffix in readers.SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    def _download(self) -> dict[str, list[dict[str, Any]]]:
        names = [f"{intent}/{{}}_{intent}{{}}.json" for intent in INTENTS]
        train = [item for name in names for item in self._fetch(name.format("train", "_full"))]
        test = [item for name in names for item in self._fetch(name.format("validate", ""))]
        random.Random(1).shuffle(train)
        splits = {"train": train[: -SIZES["val"]], "val": train[-SIZES["val"] :], "test": test}
        if {split: len(items) for split, items in splits.items()} != SIZES:
            raise UserError(f"{self.url}: gave {len(train)} + {len(test)} utterances, not {SIZES}; {self._manually()}")
        return splits

    def _fetch(self, name: str) -> list[dict[str, Any]]:
        path = self._folder / "raw" / Path(name).name
        if not path.is_file():
            fetch(f"{self.url.rstrip('/')}/{name}", path, None)
        try:
            return reshape(json.loads(decode(path.read_bytes())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is of another form ({type(error).__name__}); {self._manually()}") from None

    def _manually(self) -> str:
        """The remedy where the download fails, for messages."""
        return (
            f"put train.jsonl, val.jsonl and test.jsonl, with lines such as {FORM}, into {self._folder} "
            "yourself, or set data.root to the folder that has them"
        )


def decode(content: bytes) -> str:
    """The text of a file of the benchmark: some are UTF-8, some Latin-1."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def reshape(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert a file of the benchmark, {INTENT: [{"data": [{"text": …, "entity": …}, …]}, …]}, to tokens, tags and
    intent.

    Each span of text is split at white space; the words of a span with an entity are tagged B-entity, I-entity, ….
    """
    return [
        {"tokens": [token for token, _ in pairs], "tags": [tag for _, tag in pairs], "intent": intent}
        for intent, utterances in content.items()
        for utterance in utterances
        for pairs in [[pair for span in utterance["data"] for pair in _tagged(span)]]
    ]


def _tagged(span: dict[str, str]) -> list[tuple[str, str]]:
    entity = span.get("entity")
    return [(token, f"{'I' if i else 'B'}-{entity}" if entity else "O") for i, token in enumerate(span["text"].split())]
