"""Encoders: they read the source and return a memory."""

from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.gnmt import GNMTEncoder
from seq2seq.nn.encoders.image import ImageEncoder
from seq2seq.nn.encoders.projection import ProjectionEncoder
from seq2seq.nn.encoders.pyramidal import PyramidalEncoder
from seq2seq.nn.encoders.recurrent import RecurrentEncoder
from seq2seq.nn.encoders.stack import RecurrentStack, StackState
from seq2seq.nn.encoders.unordered import UnorderedEncoder
from seq2seq.nn.encoders.vector import VectorEncoder

__all__ = [
    "Encoder",
    "GNMTEncoder",
    "ImageEncoder",
    "ProjectionEncoder",
    "PyramidalEncoder",
    "RecurrentEncoder",
    "RecurrentStack",
    "StackState",
    "UnorderedEncoder",
    "VectorEncoder",
]
