"""Recurrent cells: one a file, its equations in the docstring."""

from seq2seq.cells.base import Cell
from seq2seq.cells.gru import GRU
from seq2seq.cells.lstm import LSTM
from seq2seq.cells.vanilla import Vanilla

__all__ = ["GRU", "LSTM", "Cell", "Vanilla"]
