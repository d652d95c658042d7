"""MSE, MAE and R² against scikit-learn's, and intervals against resampled rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from seq2seq.errors import UserError
from seq2seq.scoring.measurement import Resampling, Score
from seq2seq.scoring.number_metrics import NumberScorer


@pytest.mark.parametrize("columns", [1, 3])
def test_the_scores_are_those_of_scikit_learn(columns: int) -> None:
    random = np.random.default_rng(columns)
    references = random.normal(size=(40, columns)) * [1, 100, 1e-3][:columns] + 1e4
    predictions = references + random.normal(size=(40, columns)) * [0.3, 20, 1e-3][:columns]
    scores = NumberScorer()(predictions, references, Resampling(200))
    assert scores["MSE"].value == pytest.approx(mean_squared_error(references, predictions))
    assert scores["MAE"].value == pytest.approx(mean_absolute_error(references, predictions))
    if columns == 1:
        assert scores["R2"].value == pytest.approx(100 * r2_score(references, predictions), rel=1e-6)
    residual, total = ((predictions - references) ** 2).sum(), ((references - references.mean(0)) ** 2).sum()
    assert scores["R2"].value == pytest.approx(100 * (1 - residual / total), rel=1e-6)
    generator = np.random.default_rng(12345)
    resampled = []
    for _ in range(200):
        rows = generator.choice(40, 40)
        one, other = predictions[rows], references[rows]
        resampled.append(100 * (1 - ((one - other) ** 2).sum() / ((other - other.mean(0)) ** 2).sum()))
    resampled.sort()
    assert scores["R2"].interval == pytest.approx((resampled[5], resampled[194]), rel=1e-6)


def test_units_of_any_size_are_readable() -> None:
    assert Score("MSE", 0.00012345, "s", (1e-4, 2e-4)).text() == "0.0001234 [0.0001, 0.0002]"
    assert Score("BLEU", 12.345, "s", (1.0, 2.0)).text() == "12.35 [1.00, 2.00]"


def test_a_constant_has_no_variance_to_explain() -> None:
    same = np.ones((3, 1))
    assert NumberScorer()(same, same)["R2"].value == 100
    assert NumberScorer()(same + 1, same)["R2"].value == -np.inf
    with pytest.raises(UserError, match="scoring: predictions"):
        NumberScorer()(same, np.ones((2, 1)))
