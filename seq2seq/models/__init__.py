"""Models: parts put together; plain modules that know no trainer."""

from seq2seq.models.encoder_decoder import Encoded, EncoderDecoder

__all__ = ["Encoded", "EncoderDecoder"]
