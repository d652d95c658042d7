"""Corpora: readers, encoded corpora on disk, batches. Only `TranslationData` needs torch and Lightning."""

from typing import TYPE_CHECKING

from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.embedded import Embedded
from seq2seq.corpora.files import TSV, JSONLines, Parallel
from seq2seq.corpora.multi30k import Multi30k

if TYPE_CHECKING:
    from seq2seq.corpora.data_module import TranslationData

__all__ = ["TSV", "Corpus", "Embedded", "JSONLines", "Multi30k", "Parallel", "TranslationData"]


def __getattr__(name: str) -> object:
    if name == "TranslationData":
        from seq2seq.corpora.data_module import TranslationData

        return TranslationData
    raise AttributeError(f"module 'seq2seq.corpora' has no attribute {name!r}")
