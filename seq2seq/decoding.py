"""A model and a search put together: token ids in, hypotheses out; for validation and for translating."""

from __future__ import annotations

import torch

from seq2seq.models import EncoderDecoder
from seq2seq.search import Hypothesis, SearchOptions, search
from seq2seq.structures import Tokens


@torch.inference_mode()
def translate_ids(model: EncoderDecoder, sources: Tokens, options: SearchOptions) -> list[list[Hypothesis]]:
    """The hypotheses of each source, best first; the sources end with eos, and eos counts in the limits.

    The model is used as it is: put it into eval mode first, or its dropout falls on the translations.
    """
    memory = model.encode(sources)
    state, encoded = model.start(memory)
    return search(model.step, state, encoded, options.limits(sources.lengths), options)
