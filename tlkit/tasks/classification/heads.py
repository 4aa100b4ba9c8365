"""Classical heads on features: scikit-learn pipelines, chosen by cross-validation over groups.

Standardisation stands inside each pipeline, so a fold is scaled by its own training images. Features are float64
from here on: the exported graph computes in the same precision and so finds the same neighbours.

Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sections 4.3, 4.4, 7.10, 12.2, 13.3.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkit.core.text import did_you_mean
from tlkit.data.images.splits import SYNTHETIC_GROUP
from tlkit.errors import DataFault, UsageFault

# name -> what it is, and the grid that cross-validation chooses from
HEADS: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "knn1": ("nearest neighbour", {}),
    "knn3": ("3 nearest neighbours", {}),
    "knn": ("k nearest neighbours", {"n_neighbors": [1, 3, 5, 7, 11, 15]}),
    "svm-linear": ("linear support vector machine", {"C": [1e-4, 1e-3, 1e-2, 1e-1]}),
    "svm-rbf": (
        "support vector machine, Gaussian kernel",
        {"estimator__C": [1.0, 10.0, 100.0], "estimator__gamma": [0.1, 1.0, 10.0]},
    ),
    "logistic": ("logistic regression", {"C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}),
    "lda": ("linear discriminant analysis, shrunk", {"shrinkage": ["auto", 0.5, 0.9]}),
    "mlp": ("one hidden layer of 64", {"alpha": [1e-3, 1e-1]}),
}


@dataclass(frozen=True)
class Candidate:
    """One head with one setting, as cross-validation saw it.

    Attributes:
        head: Name in `HEADS`.
        setting: What of its grid.
        score: Mean accuracy over the folds.
        deviation: Standard deviation over the folds.
    """

    head: str
    setting: dict[str, Any]
    score: float
    deviation: float


def find_heads(text: str) -> tuple[str, ...]:
    """The names in a list with commas. Takes no scikit-learn.

    Raises:
        UsageFault: One is unknown; the nearest are offered.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names or ("",):
        if name not in HEADS:
            hint = did_you_mean(name, HEADS, 2, otherwise=f"Take some of: {', '.join(HEADS)}.")
            raise UsageFault(f"There is no head {name!r}.", hint)
    return names


def make_head(name: str, setting: dict[str, Any] | None = None, *, width: int = 1, seed: int = 0) -> Any:
    """An untrained pipeline: standardise, then classify.

    Args:
        name: In `HEADS`.
        setting: Of its grid; gamma of the Gaussian kernel is in units of 1 / width.
        width: Features an image, d.
        seed: Of what is random in it.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), _classifier(name, dict(setting or {}), width, seed))


def _classifier(name: str, setting: dict[str, Any], width: int, seed: int) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC, LinearSVC

    if name.startswith("knn"):
        fixed = {"knn1": 1, "knn3": 3}.get(name)
        return KNeighborsClassifier(fixed or setting.get("n_neighbors", 5), algorithm="brute")
    if name == "svm-linear":
        return LinearSVC(C=setting.get("C", 1e-3), dual="auto", random_state=seed, max_iter=5000)
    if name == "svm-rbf":
        # One machine a class: its decision is a sum over support vectors, which a graph repeats exactly.
        gamma = setting.get("estimator__gamma", 1.0) / width
        return OneVsRestClassifier(SVC(C=setting.get("estimator__C", 10.0), gamma=gamma))
    if name == "logistic":
        return LogisticRegression(C=setting.get("C", 1e-2), max_iter=2000)
    if name == "lda":
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=setting.get("shrinkage", "auto"))
    return MLPClassifier((64,), alpha=setting.get("alpha", 1e-3), max_iter=300, random_state=seed)


def settings_of(head: str) -> list[dict[str, Any]]:
    """Every point of a head's grid."""
    from sklearn.model_selection import ParameterGrid

    return list(ParameterGrid(HEADS[head][1]))


def make_folds(
    labels: np.ndarray, groups: Sequence[str], class_names: Sequence[str], folds: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds that keep groups whole: (learned, evaluated) indices.

    Args:
        labels: int [n].
        groups: [n]; what must stay together.
        class_names: For the message.
        folds: How many.
        seed: Shuffles groups.

    Raises:
        DataFault: A class has fewer groups than folds.
        UsageFault: Synthetic images are among them: they were made from all of training, so every fold would be
            evaluated by its own relatives.
    """
    if any(group.startswith(SYNTHETIC_GROUP) for group in groups):
        raise UsageFault(
            "--select folds cannot evaluate with --synthetic: synthetic images come from all of training.",
            "Choose heads with --select validation.",
        )
    from sklearn.model_selection import StratifiedGroupKFold

    members = np.unique(groups, return_inverse=True)[1]
    for label, name in enumerate(class_names):
        found = len(np.unique(members[labels == label]))
        if found < folds:
            raise DataFault(
                f"Class {name} has {found} groups in training, fewer than the {folds} folds of cross-validation.",
                f"Give it more images, or take --folds {max(2, found)}.",
            )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels, members))


def search(
    features: np.ndarray,
    labels: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    heads: Sequence[str],
    seed: int = 0,
) -> list[Candidate]:
    """Cross-validate every setting of every head.

    Args:
        features: float [n, d] of the training part.
        labels: int [n].
        folds: From `make_folds`, or one pair of (training, validation) indices.
        heads: Names in `HEADS`.
        seed: Of what is random in the heads.

    Returns:
        One candidate a setting, in the order of the heads; the first of the best is `best_of`.
    """
    features = np.asarray(features, np.float64)
    return [
        _cross_validate(features, labels, folds, head, setting, seed)
        for head in heads
        for setting in settings_of(head)
    ]


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The highest score; the earlier of equals, which is the simpler."""
    return max(candidates, key=lambda candidate: candidate.score)


def _cross_validate(
    features: np.ndarray,
    labels: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    head: str,
    setting: dict[str, Any],
    seed: int,
) -> Candidate:
    scores = []
    for learned, evaluated in folds:
        fitted = fit_head(head, setting, features[learned], labels[learned], seed)
        scores.append(float(np.mean(fitted.predict(features[evaluated]) == labels[evaluated])))
    return Candidate(head, setting, float(np.mean(scores)), float(np.std(scores)))


def fit_head(
    head: str, setting: dict[str, Any], features: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Any:
    """A trained pipeline.

    Args:
        head: Name in `HEADS`.
        setting: Of its grid.
        features: float [n, d].
        labels: int [n].
        seed: Of what is random in it.
    """
    from sklearn.exceptions import ConvergenceWarning

    features = np.asarray(features, np.float64)
    with warnings.catch_warnings():
        # A setting that has not converged is evaluated by its score like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_head(head, setting, width=features.shape[1], seed=seed).fit(features, labels)


def decision_values(pipeline: Any, features: np.ndarray) -> np.ndarray:
    """What the exported graph calls logits: float64 [n, k], the largest of a row is the answer.

    Linear heads, machines: decision values (of two classes, minus and plus half of the one there is).
    Neighbours: log of the smoothed share of votes. MLP: log of probabilities.
    """
    features, classifier = np.asarray(features, np.float64), pipeline[-1]
    if hasattr(classifier, "n_neighbors"):
        votes = pipeline.predict_proba(features) * classifier.n_neighbors
        return np.log((votes + 0.5) / (classifier.n_neighbors + 0.5 * votes.shape[1]))
    if hasattr(classifier, "coefs_"):
        return np.log(np.maximum(pipeline.predict_proba(features), 1e-300))
    values = pipeline.decision_function(features)
    return np.stack([-values / 2, values / 2], 1) if values.ndim == 1 else values
