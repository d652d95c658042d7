"""The options of a search, their checks, and the limits that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seq2seq.errors import UserError


@dataclass(frozen=True)
class SearchOptions:
    """The special tokens of the target vocabulary, and the options of the search.

    Args:
        bos: the token fed to the first step; never produced.
        eos: the token that ends a hypothesis.
        pad: never produced.
        beam_size: prefixes kept a sentence (K); 1 is greedy search.
        n_best: hypotheses returned for each sentence, at most `beam_size`; with `sample`, the number of samples (which
            may be equal).
        length_penalty: α of Wu et al. 2016 (arXiv:1609.08144), eq. 14; 0 compares plain log-probabilities, larger
            values favour longer hypotheses.
        coverage_penalty: β of eq. 14; 0 is none, larger values favour hypotheses whose attention covers all of the
            source. For models with attention.
        min_length: tokens before eos is allowed (a smaller limit takes precedence).
        max_length_ratio, max_length_extra: a sentence has at most ⌈ratio · source length⌉ + extra steps, eos included.
        equal_length: every hypothesis has exactly as many tokens as its source without eos: eos is never produced, and
            the limit is that length, so that hypotheses end unfinished. A source of eos alone gets one token. The
            other length options are ignored.
        no_repeat_ngram: block n-grams that the hypothesis already contains; 0 is off. See `search.rules`.
        diversity_groups: groups of the beam that avoid each other's tokens; 1 is plain beam search.
        diversity_penalty: λ of diverse beam search, see `search.diversity`; ignored with one group.
        sample: sample hypotheses instead of searching, see `search.sampling`.
        temperature, top_k, top_p: the distribution to sample from; 1, None and 1 are the model's own probabilities.
        seed: determines the samples, together with the number of a sentence.
        return_attention: return the attention weights of every hypothesis.

    Raises:
        UserError: a value is out of its range.
    """

    bos: int
    eos: int
    pad: int
    beam_size: int = 5
    n_best: int = 1
    length_penalty: float | int = 0.6
    coverage_penalty: float | int = 0.0
    min_length: int = 0
    max_length_ratio: float | int = 1.5
    max_length_extra: int = 10
    equal_length: bool = False
    no_repeat_ngram: int = 0
    diversity_groups: int = 1
    diversity_penalty: float | int = 0.5
    sample: bool = False
    temperature: float | int = 1.0
    top_k: int | None = None
    top_p: float | int = 1.0
    seed: int = 0
    return_attention: bool = False

    def __post_init__(self) -> None:
        for name in ("bos", "eos", "pad", "min_length", "max_length_extra", "no_repeat_ngram", "seed"):
            self._check_integer(name, minimum=0)
        for name in ("beam_size", "n_best", "diversity_groups"):
            self._check_integer(name, minimum=1)
        for name in ("length_penalty", "coverage_penalty", "diversity_penalty", "max_length_ratio"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UserError(f"search.{name}={value}: must be a finite number of at least 0")
        check_sampling(self.temperature, self.top_k, self.top_p, "search.")
        self._check_lengths()
        self._check_numbers()
        if self.eos in (self.bos, self.pad):
            raise UserError(f"search.eos={self.eos}: bos and pad are never produced, so eos must be another token")

    def _check_integer(self, name: str, minimum: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise UserError(f"search.{name}={value}: must be a whole number of at least {minimum}")

    def _check_lengths(self) -> None:
        if self.max_length_ratio == 0 and self.max_length_extra == 0:
            raise UserError("search.max_length_ratio=0 and search.max_length_extra=0: no output would have a token")
        if self.equal_length and self.min_length:
            raise UserError(
                f"search.min_length={self.min_length}: search.equal_length=true decides the length; set it to 0"
            )
        if self.max_length_ratio == 0 and self.min_length >= self.max_length_extra:
            raise UserError(
                f"search.min_length={self.min_length}: with at most {self.max_length_extra} tokens, eos included, no "
                f"output could end; use a smaller one, or a maximum of at least {self.min_length + 1}"
            )

    def _check_numbers(self) -> None:
        """Check n_best, beam_size, diversity_groups and sample against each other."""
        if self.sample:
            for name in ("coverage_penalty", "diversity_groups"):
                if getattr(self, name) != getattr(SearchOptions, name):
                    raise UserError(
                        f"search.{name}={getattr(self, name)}: belongs to beam search, and search.sample=true draws "
                        f"instead; set it to {getattr(SearchOptions, name):g}"
                    )
        elif self.n_best > self.beam_size:
            raise UserError(
                f"search.n_best={self.n_best}: more than search.beam_size={self.beam_size}; "
                f"use search.beam_size={self.n_best} or a smaller n_best"
            )
        elif self.beam_size % self.diversity_groups:
            wider = self.beam_size + -self.beam_size % self.diversity_groups
            raise UserError(
                f"search.diversity_groups={self.diversity_groups}: does not divide search.beam_size={self.beam_size} "
                f"into equal groups; use search.beam_size={wider}"
            )

    def banned(self, length: int) -> tuple[int, ...]:
        """The tokens that must not follow a prefix of `length` tokens."""
        early = self.equal_length or length < self.min_length
        return (self.bos, self.pad, self.eos) if early else (self.bos, self.pad)

    def normaliser(self, length: int) -> float:
        """lp(Y) = (5 + |Y|)^α / (5 + 1)^α of Wu et al. 2016, eq. 14; |Y| = `length` counts eos."""
        return float(((5 + length) / 6) ** self.length_penalty)

    def limits(self, source_lengths: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        """The most steps of each sentence, with eos; at least 1. Source lengths are in tokens, with eos."""
        if self.equal_length:
            return (source_lengths - 1).clamp(min=1)
        # Without 1e-9, 1.1 · 50 = 55.00000000000001 would become 56. On the CPU, as not every device has float64.
        lengths = source_lengths.cpu().double()
        limits = torch.ceil(lengths * self.max_length_ratio - 1e-9).long() + self.max_length_extra
        return limits.clamp(min=1).to(source_lengths.device)


def check_sampling(temperature: Any, top_k: Any, top_p: Any, owner: str = "") -> None:
    """Raise `UserError` for an invalid value; `owner` is a prefix of its name in the message."""
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise UserError(f"{owner}temperature={temperature} must be above 0; top_k=1 takes the most likely token always")
    if top_k is not None and (not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1):
        raise UserError(f"{owner}top_k={top_k} must be a whole number of at least 1")
    if not _is_number(top_p) or not 0 < top_p <= 1:
        raise UserError(f"{owner}top_p={top_p} must be above 0 and at most 1")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def steps_allowed(limits: Int[Tensor, "B"]) -> list[int]:
    """The limits as a list, copied to the CPU.

    Raises:
        ValueError: a limit is less than 1.
    """
    allowed: list[int] = limits.tolist()
    if allowed and min(allowed) < 1:
        raise ValueError(f"search: a limit of {min(allowed)} steps; every sentence needs at least 1")
    return allowed
