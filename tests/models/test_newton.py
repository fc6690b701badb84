"""Our logistic regression is the textbook's: it agrees with sklearn where sklearn can do the same."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from ml.models.newton import fit_logit
from ml.models.numbers import Floats, sigmoid


def data(rows: int = 3_000) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 4))
    weights = rng.random(rows) + 0.5
    labels = (rng.random(rows) < sigmoid(x @ [1.0, -2.0, 0.5, 0.0] - 1)).astype(float)
    return x, labels, weights


def with_ones(x: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), x])


def test_it_agrees_with_sklearn() -> None:
    x, labels, weights = data()
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(x, labels, sample_weight=weights)
    ours = fit_logit(with_ones(x), labels, weights=weights, penalty=np.array([0, 2, 2, 2, 2.0]))
    np.testing.assert_allclose(ours, [*theirs.intercept_, *theirs.coef_[0]], atol=1e-6)


def test_a_soft_label_counts_as_a_share_of_both() -> None:
    x, labels, weights = data()
    soft = np.where(labels == 1, 0.8, 0.3)
    ours = fit_logit(with_ones(x), soft, weights=weights, penalty=1.0)
    doubled = np.vstack([x, x])
    both = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    split = fit_logit(
        with_ones(doubled), both, weights=np.concatenate([weights * soft, weights * (1 - soft)]), penalty=1.0
    )
    np.testing.assert_allclose(ours, split, atol=1e-9)


def test_an_offset_is_taken_as_known() -> None:
    x, labels, _ = data()
    shift = np.linspace(-1, 1, len(x))
    plain = fit_logit(with_ones(x), labels, penalty=1e-9)
    shifted = fit_logit(with_ones(x), labels, offset=shift, penalty=1e-9)
    free = fit_logit(np.column_stack([with_ones(x), shift]), labels, penalty=1e-9)
    assert not np.allclose(plain, shifted)
    assert abs(free[-1]) < 0.2  # the labels do not follow the shift, so given as a column it gets next to no weight
    gradient = with_ones(x).T @ (sigmoid(shift + with_ones(x) @ shifted) - labels)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_beginning_elsewhere_ends_at_the_same_place() -> None:
    x, labels, _ = data()
    first = fit_logit(with_ones(x), labels, penalty=1.0)
    np.testing.assert_allclose(fit_logit(with_ones(x), labels, penalty=1.0, start=first + 1), first, atol=1e-8)


def test_separable_labels_and_repeated_columns_still_end() -> None:
    x = np.linspace(-1, 1, 50)
    design = np.column_stack([np.ones(50), x, x])
    found = fit_logit(design, (x > 0).astype(float), penalty=np.array([0.0, 1.0, 1.0]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], found[2], rtol=1e-6)
