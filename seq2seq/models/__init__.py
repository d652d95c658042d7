"""Models: parts put together; plain modules that know no trainer."""

from seq2seq.models.classifier import Classifier
from seq2seq.models.encoder_decoder import EncoderDecoder
from seq2seq.models.language_model import LanguageModel
from seq2seq.models.regressor import Regressor
from seq2seq.models.tagger import Tagger
from seq2seq.nn.decoder_state import Encoded

__all__ = ["Classifier", "Encoded", "EncoderDecoder", "LanguageModel", "Regressor", "Tagger"]
