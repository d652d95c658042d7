"""Corpora: readers, encoded corpora on disk, batches. Only `TranslationData` needs torch and Lightning."""

from typing import TYPE_CHECKING

from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.datasets.couplets import Couplets
from seq2seq.corpora.datasets.embedded import Embedded
from seq2seq.corpora.datasets.g2p import G2P
from seq2seq.corpora.datasets.inflection import Inflection
from seq2seq.corpora.datasets.multi30k import Multi30k
from seq2seq.corpora.datasets.snips import Snips
from seq2seq.corpora.files import TSV, JSONLines, Parallel
from seq2seq.corpora.label_corpora import LabelCorpus, Labelled, Tagged
from seq2seq.corpora.text import Text, TinyShakespeare

if TYPE_CHECKING:
    from seq2seq.corpora.data_module import TranslationData
    from seq2seq.corpora.stream import StreamData

__all__ = [
    "G2P",
    "TSV",
    "Corpus",
    "Couplets",
    "Embedded",
    "Inflection",
    "JSONLines",
    "LabelCorpus",
    "Labelled",
    "Multi30k",
    "Parallel",
    "Snips",
    "StreamData",
    "Tagged",
    "Text",
    "TinyShakespeare",
    "TranslationData",
]


def __getattr__(name: str) -> object:
    if name == "TranslationData":
        from seq2seq.corpora.data_module import TranslationData

        return TranslationData
    if name == "StreamData":
        from seq2seq.corpora.stream import StreamData

        return StreamData
    raise AttributeError(f"module 'seq2seq.corpora' has no attribute {name!r}")
