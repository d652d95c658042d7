"""Step functions for the tests of searches: random tables over a small vocabulary, and everything that is in them."""

from itertools import product
from typing import NamedTuple

import pytest
import torch

from seq2seq.search import Hypothesis, SearchOptions, Sentences

PAD, BOS, EOS, V = 0, 1, 2, 6
REAL = tuple(range(3, V))
LONGEST = 5


def options(**changes) -> SearchOptions:
    return SearchOptions(**{"bos": BOS, "eos": EOS, "pad": PAD, "length_penalty": 0.0} | changes)


class State(NamedTuple):
    """The whole prefix, written as a number in base V: a wrong reordering gives wrong log-probabilities."""

    codes: torch.Tensor
    nested: tuple[torch.Tensor]


class Table:
    """p(y_t | y_<t, sentence) as a random table [B, prefixes, V]; it is the memory. `rows` notes what it was asked."""

    def __init__(self, sentences: int, seed: int = 0, scale: float = 1.5, eos: float = 0.0) -> None:
        logits = (
            torch.randn(sentences, 2 * V ** (LONGEST - 1), V, generator=torch.Generator().manual_seed(seed)) * scale
        )
        logits[..., EOS] += eos
        self.table = logits.log_softmax(-1)
        self.rows: list[tuple[int, int]] = []
        self._lists: dict[tuple[int, int, int], list[float]] = {}

    def __call__(self, ids, state, memory):
        table, numbers = memory
        assert torch.equal(state.codes, state.nested[0][:, 0])
        self.rows.append((len(ids), len(table)))
        codes = state.codes * V + ids
        sentences = torch.arange(len(table)).repeat_interleave(len(ids) // len(table))
        attention = torch.stack((codes.float(), numbers[sentences].float()), dim=1)
        return table[sentences, codes], State(codes, (codes[:, None],)), attention

    def run(self, searcher, limits, chosen, sentences=None, told: Sentences | None = None) -> list[list[Hypothesis]]:
        """`sentences` are those of the table that are searched; `told` is of them alone."""
        numbers = torch.arange(len(self.table)) if sentences is None else torch.tensor(sentences)
        zeros, before = torch.zeros_like(numbers), self.table.clone()
        memory = (self.table[numbers], numbers)
        more = () if told is None else (told,)
        found = searcher(self, State(zeros, (zeros[:, None],)), memory, torch.tensor(limits), chosen, *more)
        assert self.table.allclose(before, rtol=0, atol=0, equal_nan=True)  # the search wrote to nothing it was given
        return found

    def log_probs(self, sentence: int, code: int) -> list[float]:
        """A row of the table as plain numbers, of which an enumeration reads a million."""
        key = (self.table._version, sentence, code)
        if key not in self._lists:
            self._lists[key] = self.table[sentence, code].tolist()
        return self._lists[key]

    def path(self, sentence: int, tokens: tuple[int, ...], finished: bool) -> tuple[list[int], list[float]]:
        """The prefix before each token, and the token's log-probability."""
        codes, log_probs = [BOS], []
        for token in (*tokens, EOS) if finished else tokens:
            log_probs.append(self.log_probs(sentence, codes[-1])[token])
            codes.append(codes[-1] * V + token)
        return codes[:-1], log_probs

    def hypothesis(self, sentence: int, tokens: tuple[int, ...], finished: bool, chosen: SearchOptions) -> Hypothesis:
        codes, log_probs = self.path(sentence, tokens, finished)
        log_prob = sum(log_probs)
        score = log_prob / ((5 + len(log_probs)) / 6) ** chosen.length_penalty
        attention = torch.tensor([[code, sentence] for code in codes])
        return Hypothesis(list(tokens), log_prob, score, log_probs, finished, attention)

    def enumerate(self, sentence: int, limit: int, chosen: SearchOptions) -> list[Hypothesis]:
        """Everything there is within the limit, best first."""
        found = [self.hypothesis(sentence, tokens, False, chosen) for tokens in product(REAL, repeat=limit)]
        for length in range(chosen.min_length, limit):
            found += [self.hypothesis(sentence, tokens, True, chosen) for tokens in product(REAL, repeat=length)]
        return sorted(found, key=lambda h: (h.finished, h.score), reverse=True)

    def plain_beam(self, sentence: int, limit: int, chosen: SearchOptions) -> list[Hypothesis]:
        """The definition, without any early stopping: the K best continuations, of which the finished ones leave."""
        live, finished = [self.hypothesis(sentence, (), False, chosen)], []
        for _ in range(limit):
            grown = [self.hypothesis(sentence, (*h.tokens, y), False, chosen) for h in live for y in REAL]
            if len(live[0].tokens) >= chosen.min_length:
                grown += [self.hypothesis(sentence, tuple(h.tokens), True, chosen) for h in live]
            best = sorted(grown, key=lambda h: h.log_prob, reverse=True)[: chosen.beam_size]
            finished += [h for h in best if h.finished]
            live = [h for h in best if not h.finished]
            if not live:
                break
        return sorted(finished, key=lambda h: h.score, reverse=True) + live


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [(h.tokens, h.finished) for h in found] == [(h.tokens, h.finished) for h in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.token_log_probs == pytest.approx(theirs.token_log_probs, abs=1e-5)
        assert ours.log_prob == pytest.approx(theirs.log_prob, abs=1e-5)
        assert ours.score == pytest.approx(theirs.score, abs=1e-5)
