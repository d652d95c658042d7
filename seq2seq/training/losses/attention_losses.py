"""Losses on the attention of a translation model, added to the cross-entropy of its tokens.

    guided alignment    −Σ_t Σ_s g_ts log α_ts                    (Chen et al. 2016, "Guided Alignment Training for
                        Topic-Aware Neural Machine Translation") g_t: the tokens that t is linked to, in equal shares
    coverage            Σ_t Σ_s min(α_ts, Σ_{t'<t} α_t's)         (See et al. 2017, eq. 12): looking twice costs

With R-Drop each is the mean over both copies of a batch. Both need the weights of every step of a teacher-forced
target, which the fast ways to train do not keep: the decoder takes single steps, as it does in a search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seq2seq.corpora import Corpus, TranslationData
from seq2seq.corpora.alignments import Link, links_of
from seq2seq.corpora.store import EncodedPairs, Ragged
from seq2seq.errors import UserError
from seq2seq.inference.alignment import Words
from seq2seq.models import EncoderDecoder
from seq2seq.nn.types import Captions, Features, Pairs, Tokens, flatten_unpadded, twice, unpadded_ids
from seq2seq.text import Tokenizers

OPTIONS = ("guided_alignment", "coverage_loss")
"""Keys of `task`: the weights of the two terms."""

SMALLEST = 1e-9  # a weight below it counts as such: its logarithm stays finite


class TokenLinks(NamedTuple):
    """Links between tokens: those of pair i are the rows offsets[i] to offsets[i + 1] of `links` (source, target)."""

    links: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def of(self, pair: int) -> NDArray[np.int32]:
        """The links of a pair."""
        return self.links[self.offsets[pair] : self.offsets[pair + 1]]


def token_links(data: EncodedPairs, tokenizers: Tokenizers, links: Iterator[tuple[str, list[Link]]]) -> TokenLinks:
    """The links of words as links of all their tokens, for the encoded pairs of a split. Each line has its place, with
    which UserError is raised for a word that a sentence does not have."""
    source_words, target_words = Words(tokenizers.source), Words(tokenizers.target)
    rows: list[list[tuple[int, int]]] = []
    for i, (place, word_links) in enumerate(links):
        source = _tokens_by_word(source_words.of(_ids(data.source, i)))
        target = _tokens_by_word(target_words.of(_ids(data.target, i)))
        rows.append(_expanded(source, target, word_links, place))
    flat = np.fromiter(chain.from_iterable(chain.from_iterable(rows)), np.int32)
    return TokenLinks(flat.reshape(-1, 2), np.cumsum([0, *map(len, rows)], dtype=np.int64))


def _ids(side: Ragged, i: int) -> list[int]:
    """The tokens of a sentence, without eos."""
    ids: list[int] = side.ids[side.offsets[i] : side.offsets[i + 1] - 1].tolist()
    return ids


def _tokens_by_word(words: Sequence[int]) -> list[list[int]]:
    tokens: list[list[int]] = [[] for _ in range(max(words, default=-1) + 1)]
    for token, word in enumerate(words):
        tokens[word].append(token)
    return tokens


def _expanded(
    source: list[list[int]], target: list[list[int]], links: Sequence[Link], place: str
) -> list[tuple[int, int]]:
    expanded = set()
    for link in links:
        for side, tokens, word in (("source", source, link.source), ("target", target, link.target)):
            if word >= len(tokens):
                raise UserError(f"{place}: links word {word} of the {side}, which has {len(tokens)}, counted from 0")
        expanded |= {(s, t) for s in source[link.source] for t in target[link.target]}
    return sorted(expanded)


class AttentionLosses:
    """The loss of a batch with both terms, each by its weight; a term of weight 0 is not computed."""

    def __init__(self, guided: float, coverage: float, links: TokenLinks | None, lengths: NDArray[np.int64]) -> None:
        self.guided, self.coverage = guided, coverage
        self.links = links
        self.lengths = lengths  # of the sources as they are encoded: a batch's are one longer where there is a tag

    def __call__(
        self, model: EncoderDecoder, batch: Pairs | Captions, *, label_smoothing: float, r_drop: float = 0.0
    ) -> Float[Tensor, ""]:
        """Σ of the loss of the tokens (see `EncoderDecoder.loss`), and of the terms, over a batch."""
        target = batch.target
        if not r_drop:
            features, weights = stepwise(model, batch.source, target)
            rows = flatten_unpadded(features, target.mask)
            total = model.decoder.outputs.loss(rows, unpadded_ids(target), label_smoothing=label_smoothing)
            return total + self._terms(batch, weights)
        features, weights = stepwise(model, twice(batch.source), twice(target))
        rows = flatten_unpadded(features, twice(target).mask)
        total = model.r_drop_loss(rows, target, label_smoothing=label_smoothing, r_drop=r_drop)
        return total + sum(self._terms(batch, each) for each in weights.chunk(2)) / 2

    def _terms(self, batch: Pairs | Captions, weights: Float[Tensor, "B T S"]) -> Float[Tensor, ""]:
        """The terms by their weights, for one copy of a batch."""
        total = weights.new_zeros(())
        if self.coverage:
            total = total + self.coverage * coverage_loss(weights * batch.target.mask[..., None])
        if self.guided and self.links is not None:
            total = total + self.guided * guided_loss(weights, self._shares(batch, weights))
        return total

    def _shares(self, batch: Pairs | Captions, weights: Tensor) -> Float[Tensor, "B T S"]:
        """g: of each target token, the shares of the source tokens that it is linked to; 0 where it has no link."""
        assert self.links is not None
        rows = batch.rows.tolist()
        tags = batch.source.lengths.cpu().numpy()[: len(rows)] - self.lengths[rows]
        linked = [(np.full(len(links), b), links) for b, row in enumerate(rows) for links in [self.links.of(row)]]
        shares = torch.zeros_like(weights)
        if linked:
            b = np.concatenate([owner for owner, _ in linked])
            s, t = np.concatenate([links for _, links in linked]).T
            shares[torch.from_numpy(b), torch.from_numpy(t).long(), torch.from_numpy(s + tags[b]).long()] = 1
        return shares / shares.sum(-1, keepdim=True).clamp_(min=1)


def stepwise(
    model: EncoderDecoder, source: Tokens | Features, target: Tokens
) -> tuple[Float[Tensor, "B T F"], Float[Tensor, "B T S"]]:
    """The features and attention weights of a teacher-forced target, a step at a time."""
    decoder = model.decoder
    state, encoded = model.start(model.encode(source))
    previous = target.ids.roll(1, dims=1)
    previous[:, 0] = model.bos
    embedded = model.target_embedding(previous)
    gates = decoder.project(embedded).transpose(0, 1)
    masks = decoder.layers.time_masks(gates)
    features, attended = [], []
    with decoder.dropped_weights():
        for t in range(len(gates)):
            ids = previous[:, t]
            output, state, weights = decoder.step(embedded[:, t], state, encoded, gates[t], masks, ids=ids)
            assert weights is not None
            features.append(output)
            attended.append(weights)
    return torch.stack(features, 1), torch.stack(attended, 1)


def guided_loss(weights: Float[Tensor, "B T S"], shares: Float[Tensor, "B T S"]) -> Float[Tensor, ""]:
    """−Σ g log α."""
    return -(shares * weights.clamp(min=SMALLEST).log()).sum()


def coverage_loss(weights: Float[Tensor, "B T S"]) -> Float[Tensor, ""]:
    """Σ min(α_t, what was attended to before t); rows of padding are 0."""
    before = weights.cumsum(1) - weights
    return torch.minimum(weights, before).sum()


def made(config: Mapping[str, Any], data: TranslationData) -> AttentionLosses | None:
    """The losses of a run; None where `task` asks for none."""
    guided, coverage = (config["task"].get(key, 0.0) for key in OPTIONS)
    if not guided and not coverage:
        return None
    pairs, links = data.encoded("train"), None
    if guided:
        divided = data.divided("train")
        links = token_links(pairs, data.tokenizers, links_of(divided.parts, divided.bounds))
    return AttentionLosses(guided, coverage, links, np.diff(pairs.source.offsets))


def check_options(config: Mapping[str, Any], model: EncoderDecoder, corpus: Corpus) -> None:
    """Raise `UserError` where the options of a run do not fit, before data are read."""
    guided, coverage = (config["task"].get(key, 0.0) for key in OPTIONS)
    files = [part.alignments for part in corpus.parts("train") if part.alignments]
    protect = config.get("data", {}).get("protect")
    check(model, guided, coverage, bool(files), protected=bool(protect))
    if guided and protect:
        raise UserError(
            f"task.guided_alignment={guided}: links are between the tokens of unchanged sentences; set data.protect=0"
        )
    if (guided or coverage) and config["task"].get("loss") == "risk":
        key, value = ("guided_alignment", guided) if guided else ("coverage_loss", coverage)
        raise UserError(
            f"task.loss=risk: draws translations of its own, and task.{key}={value} is of given ones; set it to 0"
        )
    if guided and config["tokenizer"].get("sampling_alpha"):
        raise UserError(
            f"task.guided_alignment={guided}: links are between the tokens of one segmentation; set "
            "tokenizer.sampling_alpha=0"
        )
    for name in files:
        if not Path(name).expanduser().is_file():
            raise UserError(f"data.corpus.alignments={name}: no such file")


def check(model: EncoderDecoder, guided: float, coverage: float, aligned: bool, *, protected: bool = False) -> None:
    """Raise `UserError` where the losses cannot be computed."""
    if not guided and not coverage:
        if aligned and not protected:
            raise UserError("data.corpus.alignments: nothing is done with them; set task.guided_alignment, 0.1 for one")
        return
    name = f"task.guided_alignment={guided}" if guided else f"task.coverage_loss={coverage}"
    if not model.attends:
        raise UserError(f"{name}: the model has no attention; use context=additive or multiplicative")
    if model.decoder.feedback.reads_own:
        raise UserError(f"{name}: the decoder must read the true tokens; set feedback@decoder.feedback=teacher")
    if guided and not aligned:
        raise UserError(f"{name}: there are no links; set data.corpus.alignments to a file of them, or it to 0")
    if guided and model.encoder.stride > 1:
        raise UserError(f"{name}: this encoder joins positions, which links are between; use encoder=recurrent")
