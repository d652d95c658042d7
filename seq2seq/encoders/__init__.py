"""Encoders: what reads the source and leaves a memory."""

from seq2seq.encoders.base import Encoder
from seq2seq.encoders.recurrent import RecurrentEncoder

__all__ = ["Encoder", "RecurrentEncoder"]
