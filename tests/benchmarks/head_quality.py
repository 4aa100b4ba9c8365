"""Claim: the default head loses at most 0.005 of balanced accuracy to a logistic regression chosen on validation.

    python -m tests.benchmarks.head_quality [FOLDER ...] [--seeds 5]

Both learn the same features (EfficientNet-Lite0 224) of the same training part; the regression is scikit-learn's on
standardised features, its C chosen by balanced accuracy on validation. Ours is the head phase of `tlkit run fine-tune`
with its defaults, the best epoch by validation loss; each seed is another split, too. Of each image there is one
changed view, the same for all seeds, so that features are computed once a set. The test part is measured once a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.measuring import GROUP, SHARED, machine, seconds

SETS = ("threats", "castings", "eyes-noses/labels.csv", "mnist2000", "cats-dogs")
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
ALLOWED = 0.005


@dataclass(frozen=True)
class Row:
    """One set: balanced accuracy on test, a value a seed.

    Attributes:
        source: The set.
        images: How many it has.
        regression: [seeds].
        ours: [seeds].
        took: [seeds] seconds of our phase, features not counted.
        epochs: [seeds] after which it stopped.
        best: [seeds] the best of them.
    """

    source: str
    images: int
    regression: tuple[float, ...]
    ours: tuple[float, ...]
    took: tuple[float, ...]
    epochs: tuple[int, ...]
    best: tuple[int, ...]

    @property
    def gap(self) -> float:
        """Mean of ours less the mean of theirs."""
        return statistics.mean(self.ours) - statistics.mean(self.regression)

    def cells(self) -> list[str]:
        """A row of the table."""
        ways = [
            f"{statistics.mean(v):.4f} ({min(v):.4f}..{max(v):.4f})" for v in (self.regression, self.ours)
        ]
        met = "yes" if self.gap >= -ALLOWED else "NO"
        epochs = f"{statistics.median(self.epochs):g}"
        took = f"{statistics.median(self.took):.0f} s"
        return [self.source, str(self.images), *ways, f"{self.gap:+.4f}", met, epochs, took]


def measure(source: str, seeds: int, *, image_size: int = 224, group: str | None = None) -> Row:
    """Both ways on `seeds` splits of a source."""
    from tlkit.data.images.augment_settings import Augmentation
    from tlkit.data.images.inspection import inspect_files
    from tlkit.data.images.sources import read_images
    from tlkit.data.images.splits import split_images
    from tlkit.tasks.features.extract import Extractor
    from tlkit.tasks.features.extractors import build_extractor

    images = read_images(source)
    inspections = inspect_files(images.files())
    extract = Extractor(build_extractor("efficientnet-lite0", image_size=image_size)[0])
    changes = Augmentation(flip="horizontal", rotation=10.0, zoom=0.1, contrast=0.1)  # fine-tune's defaults
    hashes = [inspection.sha256 for inspection in inspections]
    stack = extract.views(images.files(), hashes, 2, changes, 0)
    found: list[tuple] = []
    for seed in range(seeds):
        split = split_images(images, inspections, seed=seed, group=group)
        parts = [split.indices(part) for part in ("training", "validation", "test")]
        labels, count = np.asarray(images.labels), len(images.class_names)
        theirs = by_regression(stack[0], labels, parts)
        found.append((theirs, *by_head(stack, labels, parts, count, seed)))
    columns = zip(*found, strict=True)
    return Row(
        Path(source).parent.name if source.endswith(".csv") else Path(source).name, len(images), *columns
    )


def balanced(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall of the classes."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(labels, predicted))


def by_regression(features: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray]) -> float:
    """Test score of the logistic regression whose C is the best on validation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    training, validation, test = parts
    fitted = []
    for strength in GRID:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.append(pipeline.fit(features[training], labels[training]))
    scores = [balanced(labels[validation], one.predict(features[validation])) for one in fitted]
    return balanced(labels[test], fitted[int(np.argmax(scores))].predict(features[test]))


def by_head(
    stack: np.ndarray, labels: np.ndarray, parts: Sequence[np.ndarray], classes: int, seed: int
) -> tuple[float, float, int, int]:
    """Test score of the head phase with the recipe's defaults, its seconds, its epochs and the best of them."""
    import keras

    from recipes.fine_tune import fine_tune
    from tlkit.cli.options.classification import HEAD_PATIENCE
    from tlkit.data.images.batches import Order
    from tlkit.engine.training.settings import Fitting, Head, Phase
    from tlkit.tasks.classification.classifier import add_head
    from tlkit.tasks.classification.fit import Best, fit_phase
    from tlkit.tasks.classification.phases import evaluated_features, feature_stream

    defaults = {option.name: option.default for option in fine_tune.params}
    phase = Phase("head", "head", defaults["epochs"][0], defaults["learning_rates"][0])
    fitting = Fitting(head_patience=HEAD_PATIENCE)
    training, validation, test = parts
    keras.utils.set_random_seed(seed)
    features = keras.Input((stack.shape[-1],))
    model = keras.Model(features, add_head(features, [str(k) for k in range(classes)], Head()))
    order = Order(labels[training], fitting.batch, seed, phase.name, fitting.balance)
    stream = feature_stream(stack[:, training], order, phase.epochs, classes)
    evaluated = evaluated_features(stack[0][validation], labels[validation], fitting.batch, classes)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        took = seconds(
            lambda: results.append(
                fit_phase(model, phase, fitting, order, stream, evaluated, Path(folder), Best())
            )
        )
    predicted = model.predict(stack[0][test], verbose=0).argmax(1)
    return balanced(labels[test], predicted), took, results[0].epochs, results[0].best_epoch


def main() -> None:
    """Print the table, or the same as JSON."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", help="default: the five sets beside the repository")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    sources = chosen.sources or [str(SHARED / "data" / name) for name in SETS]
    header = ["set", "images", "logistic regression", "default head", "gap", "met", "epochs", "time"]
    rows = []
    for source in sources:
        rows.append(measure(source, chosen.seeds, group=GROUP if Path(source).name == "threats" else None))
        if not chosen.json:
            print("  ".join(rows[-1].cells()), flush=True)
    if chosen.json:
        print(
            json.dumps({"machine": machine(), "rows": [{**asdict(r), "gap": r.gap} for r in rows]}, indent=1)
        )
        return
    cells = [header, *(row.cells() for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(
        f"  Mean balanced accuracy on test, least and greatest of {chosen.seeds} seeds; medians; {machine()}"
    )


if __name__ == "__main__":
    main()
