"""The figures of experiments/serving: every request is counted, and a table shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("selenium")

from experiments.serving.browser import serving
from experiments.serving.load import load, memory, table


def test_every_answer_is_counted_and_refusals_are(folder: Path) -> None:
    with serving([folder / "fixed" / "bundle"]) as address:
        port = int(address.rpartition(":")[2].strip("/"))
        row = load(port, ["a dog", "the old house"], 3, 0.5)
        refused = load(port, ["half of a character: \ud800"], 1, 0.1)
    assert row["requests_per_second"] >= 3 / 0.5
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["refused"] == 0
    assert refused["refused"] > 0


def test_the_table_has_a_row_for_each_number_of_clients() -> None:
    row = {"clients": 8, "requests_per_second": 20.5, "p50_ms": 1.5, "p99_ms": 9.0, "refused": 0}
    soak = {"rows": [row | {"memory_mb": 200.0}, row | {"memory_mb": 201.0}], "refused": 0}
    text = table({"batches": [row], "one at a time": [row], "soak": soak})
    assert text.count("| 8 | 20.5 | 1.5 ms | 9.0 ms |") == 2
    assert "200.0 MB" in text
    assert "201.0 MB" in text


def test_memory_is_that_of_the_process() -> None:
    assert 10 < memory(os.getpid()) < 100_000
