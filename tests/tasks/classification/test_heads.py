"""Heads: scikit-learn is the oracle for what the graph answers; folds never split a group."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.classification.head_layers import add_fitted_head
from tlkit.tasks.classification.heads import (
    HEADS,
    best_of,
    decision_values,
    find_heads,
    fit_head,
    make_folds,
    search,
    settings_of,
)

WIDTH = 12


def clouds(classes: int, each: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian clouds with scales far apart and one constant feature: float32 [n, 12], int [n]."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = np.random.default_rng(99).normal(0, 1.2, (classes, WIDTH))
    features = centres[labels] + generator.normal(0, 1, (len(labels), WIDTH))
    features = features * 10.0 ** np.linspace(-2, 2, WIDTH) + 3
    features[:, 5] = 7
    return features.astype(np.float32), labels


def served(pipeline, classes: int) -> keras.Model:
    inputs = keras.Input((WIDTH,), dtype="float32", name="features")
    return keras.Model(inputs, add_fitted_head(inputs, pipeline, [f"c{i}" for i in range(classes)]))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("head", HEADS)
def test_the_graph_answers_as_scikit_learn(head, classes, tmp_path):
    features, labels = clouds(classes)
    others, _ = clouds(classes, 60, seed=1)
    pipeline = fit_head(head, settings_of(head)[0], features, labels)
    model = served(pipeline, classes)
    model.save(tmp_path / "head.keras")
    for one in (model, keras.models.load_model(tmp_path / "head.keras", compile=False)):
        answers = one(others).numpy()
        assert answers.dtype == np.float32
        assert (answers.argmax(1) == pipeline.predict(others.astype(np.float64))).all()
        assert np.abs(answers - softmax(decision_values(pipeline, others), axis=1)).max() < 1e-4


@pytest.mark.parametrize("head", ["logistic", "lda", "mlp"])
def test_probabilities_are_scikit_learns_where_it_has_them(head):
    features, labels = clouds(3)
    pipeline = fit_head(head, {}, features, labels)
    expected = pipeline.predict_proba(features.astype(np.float64))
    assert np.abs(served(pipeline, 3)(features).numpy() - expected).max() < 1e-4


def test_of_tied_neighbours_the_first_class_wins_as_in_scikit_learn():
    features = np.eye(6, WIDTH, dtype=np.float32)  # all equally far from each other
    labels = np.array([2, 2, 0, 0, 1, 1])
    pipeline = fit_head("knn", {"n_neighbors": 6}, features, labels)
    query = np.zeros((1, WIDTH), np.float32)
    assert served(pipeline, 3)(query).numpy().argmax() == pipeline.predict(query.astype(float))[0] == 0


def test_standardisation_learns_from_the_fold_alone():
    features, labels = clouds(2)
    folds = make_folds(labels, [str(i) for i in range(len(labels))], ["a", "b"], 4)
    scaler = fit_head("knn1", {}, features[folds[0][0]], labels[folds[0][0]])[0]
    assert scaler.mean_ == pytest.approx(features[folds[0][0]].astype(np.float64).mean(0))


def test_folds_keep_groups_whole_and_judge_each_image_once():
    labels = np.repeat([0, 1], 30)
    groups = [f"g{i // 3}" for i in range(60)]
    folds = make_folds(labels, groups, ["a", "b"], 5)
    assert sorted(np.concatenate([evaluated for _, evaluated in folds])) == list(range(60))
    for learned, evaluated in folds:
        assert not {groups[i] for i in learned} & {groups[i] for i in evaluated}


def test_a_class_with_fewer_groups_than_folds_is_named():
    with pytest.raises(DataFault, match="Class rare has 2 groups in training, fewer than the 5 folds"):
        make_folds(
            np.array([0] * 10 + [1] * 4), [*map(str, range(10)), "x", "x", "y", "y"], ["many", "rare"], 5
        )


def test_the_search_tries_every_setting_and_the_earlier_of_equals_wins():
    features, labels = clouds(2, 20)
    folds = make_folds(labels, [str(i) for i in range(len(labels))], ["a", "b"], 3)
    candidates = search(features, labels, folds, ["knn1", "knn", "logistic"])
    assert [c.head for c in candidates] == ["knn1"] + ["knn"] * 6 + ["logistic"] * 5
    assert best_of(candidates).score == max(c.score for c in candidates)
    same = [c for c in candidates if c.score == best_of(candidates).score]
    assert best_of(candidates) == same[0]


def test_scores_are_those_of_scikit_learns_own_search():
    from sklearn.model_selection import cross_val_score

    from tlkit.tasks.classification.heads import make_head

    features, labels = clouds(3)
    folds = make_folds(labels, [str(i) for i in range(len(labels))], list("abc"), 4)
    ours = search(features, labels, folds, ["lda"])[0]
    theirs = cross_val_score(make_head("lda", ours.setting), features.astype(np.float64), labels, cv=folds)
    assert ours.score == pytest.approx(theirs.mean())


def test_an_unknown_head_gets_the_nearest():
    assert find_heads("knn1, logistic,knn1") == ("knn1", "logistic")
    with pytest.raises(UsageFault, match="Did you mean svm-linear"):
        find_heads("knn1,svm-liner")
    with pytest.raises(UsageFault, match="no head"):
        find_heads(" , ")
