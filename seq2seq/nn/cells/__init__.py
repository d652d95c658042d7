"""Recurrent cells: one a file, its equations in the docstring."""

from seq2seq.nn.cells.base import Cell
from seq2seq.nn.cells.cell_gradients import CellSteps
from seq2seq.nn.cells.gru import GRU
from seq2seq.nn.cells.layer_norm_gru import LayerNormGRU
from seq2seq.nn.cells.layer_norm_lstm import LayerNormLSTM
from seq2seq.nn.cells.lstm import LSTM
from seq2seq.nn.cells.mgu import MGU
from seq2seq.nn.cells.min_gru import MinGRU
from seq2seq.nn.cells.min_lstm import MinLSTM
from seq2seq.nn.cells.regularization import Regularization
from seq2seq.nn.cells.vanilla import Vanilla

__all__ = [
    "GRU",
    "LSTM",
    "MGU",
    "Cell",
    "CellSteps",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "Regularization",
    "Vanilla",
]
