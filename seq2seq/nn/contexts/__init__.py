"""Contexts: the rules that give the decoder its vector c_t."""

from seq2seq.nn.contexts.additive_attention import AdditiveContext
from seq2seq.nn.contexts.aligned import AlignedContext
from seq2seq.nn.contexts.base import Attention, Context, Keys
from seq2seq.nn.contexts.fixed import FixedContext
from seq2seq.nn.contexts.monotonic import MonotonicContext
from seq2seq.nn.contexts.multiplicative_attention import MultiplicativeContext
from seq2seq.nn.contexts.several import SeveralContexts

__all__ = [
    "AdditiveContext",
    "AlignedContext",
    "Attention",
    "Context",
    "FixedContext",
    "Keys",
    "MonotonicContext",
    "MultiplicativeContext",
    "SeveralContexts",
]
