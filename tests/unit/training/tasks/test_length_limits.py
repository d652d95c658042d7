"""References and outputs that are longer than the search lets outputs be."""

from types import SimpleNamespace

import numpy as np
import pytest

from seq2seq.corpora.store import EncodedPairs, pack, stack
from seq2seq.inference.files.formats import CutOff
from seq2seq.search import Hypothesis, SearchOptions
from seq2seq.training.tasks import length_limits

OPTIONS = {"bos": 2, "eos": 3, "pad": 0, "max_length_ratio": 1.5, "max_length_extra": 2}


def pairs(*lengths):
    """Text of so many tokens a side, eos not counted."""
    return EncodedPairs(*(pack([[5] * pair[side] for pair in lengths]) for side in (0, 1)))


def captions(*lengths):
    """Rows of numbers, and texts of so many tokens."""
    rows = stack([np.zeros((count, 2), np.float32) for count, _ in lengths])
    return EncodedPairs(rows, pack([[5] * count for _, count in lengths]))


@pytest.mark.parametrize(
    ("data", "count", "extra"),
    [
        (pairs((3, 7)), 0, 2),  # 4 tokens with eos: ⌈1.5 · 4⌉ + 2 = 8
        (pairs((3, 8)), 1, 3),
        (pairs((3, 8), (3, 20), (9, 1)), 2, 15),
        (pairs((0, 5)), 1, 4),
        (captions((1, 3)), 0, 2),  # one region: ⌈1.5⌉ + 2 = 4
        (captions((1, 4), (1, 30)), 2, 29),
        (captions((20, 31)), 0, 2),
    ],
)
def test_references_that_no_output_can_equal(data, count, extra):
    assert length_limits.too_long(data, SearchOptions(**OPTIONS)) == (count, extra)
    enough = SearchOptions(**OPTIONS | {"max_length_extra": extra})
    assert length_limits.too_long(data, enough)[0] == 0
    assert not count or length_limits.too_long(data, SearchOptions(**OPTIONS | {"max_length_extra": extra - 1}))[0]


def test_outputs_as_long_as_their_source_are_not_cut():
    options = SearchOptions(**OPTIONS, equal_length=True)
    assert length_limits.too_long(pairs((3, 50)), options)[0] == 0
    unfinished = Hypothesis([5], -1.0, -1.0, [-1.0], finished=False)
    assert not unfinished.cut_off(options)
    assert unfinished.cut_off(SearchOptions(**OPTIONS))
    assert not unfinished._replace(finished=True).cut_off(SearchOptions(**OPTIONS))


def test_one_line_for_val_and_all_tests():
    splits = {"train": pairs((1, 99)), "val": pairs((3, 7), (3, 9)), "test": pairs((3, 7)), "other": pairs((3, 12))}
    data = SimpleNamespace(corpus=SimpleNamespace(splits=tuple(splits)), encoded=splits.__getitem__)
    assert length_limits.remark(data, SearchOptions(**OPTIONS)) == (
        "references longer than the search lets an output be: 1 of 2 in val, 1 of 1 in other; such outputs will be cut "
        "off at search.max_length_ratio=1.5 times the source's length plus search.max_length_extra=2; "
        "search.max_length_extra=7 is enough for all"
    )
    assert length_limits.remark(data, SearchOptions(**OPTIONS | {"max_length_extra": 7})) is None


def test_what_was_cut_off_in_a_file(capsys):
    found = CutOff()
    found.add(4096, [])
    found.report()
    assert capsys.readouterr().err == ""
    found.add(4, [4099, 4097])
    found.add(100, [4100])
    found.report()
    assert capsys.readouterr().err == (
        "seq2seq: warning: 3 of 4,200 outputs were cut off at the search's length limit, the first of them in line "
        "4,098; --max-length N lets them be longer\n"
    )
