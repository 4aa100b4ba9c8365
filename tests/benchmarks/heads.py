"""Claim: choosing a head by cross-validation costs at most 1.1 of scikit-learn's own GridSearchCV on the same grid.

    python -m tests.benchmarks.heads

The grids of kNN, the linear machine and logistic regression, five folds over groups, features of the default
backbone (from the cache after the first time); both sides on one core a fit and without the final refit. The grid
is printed.
"""

from __future__ import annotations

import numpy as np

from tests.benchmarks.head import load_data
from tests.benchmarks.measuring import Comparison, in_turn, main, seconds

HEADS = ("knn", "svm-linear", "logistic")
FOLDS = 5


def measure(source: str, pairs: int = 5, *, image_size: int = 224) -> list[Comparison]:
    """One row a head."""
    from tlkit.tasks.classification.heads import HEADS as GRIDS
    from tlkit.tasks.classification.heads import make_folds, search
    from tlkit.tasks.features.extract import Extractor
    from tlkit.tasks.features.extractors import build_extractor

    split = load_data(source, (0.6, 0.2, 0.2))
    extractor = Extractor(build_extractor("efficientnet-lite0", image_size=image_size)[0])
    training = split.indices("training")
    files = split.images.files()
    features = extractor([files[i] for i in training], [split.sha256[i] for i in training]).astype(np.float64)
    labels = split.images.labels[training]
    folds = make_folds(labels, [split.groups[i] for i in training], split.images.class_names, FOLDS)
    rows = []
    for head in HEADS:
        ways = {
            "theirs": lambda head=head: seconds(lambda: theirs(head, features, labels, folds)),
            "ours": lambda head=head: seconds(lambda: search(features, labels, folds, [head])),
        }
        took = in_turn(ways, pairs)
        note = f"n = {len(labels)}, d = {features.shape[1]}, {FOLDS} folds; {head}: {GRIDS[head][1]}."
        rows.append(Comparison(f"{head} / GridSearchCV", "s", took["theirs"], took["ours"], 1.1, note=note))
    return rows


def theirs(head: str, features: np.ndarray, labels: np.ndarray, folds: list) -> None:
    """The same grid by scikit-learn."""
    from sklearn.model_selection import GridSearchCV

    from tlkit.tasks.classification.heads import HEADS as GRIDS
    from tlkit.tasks.classification.heads import make_head

    pipeline = make_head(head, width=features.shape[1])
    step = pipeline.steps[-1][0]
    grid = {f"{step}__{key}": values for key, values in GRIDS[head][1].items()}
    GridSearchCV(pipeline, grid, cv=folds, refit=False, error_score="raise").fit(features, labels)


if __name__ == "__main__":
    main(measure, __doc__ or "")
