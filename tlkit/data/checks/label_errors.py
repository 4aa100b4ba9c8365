"""Labels that a finished run's answers speak against, for a person to look at.

Only images that the run has not trained on count: of what it has learned it would repeat the label, right or
wrong. Validation and test are such parts (validation chose the best epoch and the temperature, a mild use).
An image is suspect when its own label's probability is below what that label usually gets, while another class
gets more, and at least what *it* usually gets. Of more than 100 classes that other one is sought among the five
likeliest, which predictions.csv has.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of
Artificial Intelligence Research 70, 2021, section 3.1 (thresholds and confident joint); ranked by margin, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.data.checks.check import Check
from tlkit.data.checks.predictions import Prediction, read_predictions
from tlkit.data.images.dataset import TRAINING
from tlkit.data.images.findings import Finding, finding
from tlkit.data.images.splits import read_manifest
from tlkit.errors import DataFault, UsageFault


class Suspect(NamedTuple):
    """Example `row` with label `given` that answers speak for `likely`; `usual` is the threshold of `given`."""

    row: int
    given: int
    likely: int
    probability_given: float
    probability_likely: float
    usual: float


class Answers(NamedTuple):
    """Out-of-fold answers of a run.

    Attributes:
        sha256: [n] contents, in hex.
        predictions: [n] what was said of each.
        classes: [k] of all that were named, sorted.
    """

    sha256: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    classes: tuple[str, ...]

    def probabilities(self, rows: Sequence[int], labels: Sequence[str]) -> np.ndarray:
        """Float64 [m, k] of some rows and their labels now.

        Of a run with more than 100 classes only the five likeliest classes and the label are known. The others are 0;
        a label that is none of these (it was corrected) stands at what the fifth got, which is no less than it has.
        """
        place = {name: k for k, name in enumerate(self.classes)}
        found = np.zeros((len(rows), len(self.classes)))
        for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
            told = self.predictions[row]
            if told.sparse:
                known = {label: min(told.likeliest.values()), told.label: told.p_label, **told.likeliest}
            else:
                known = told.likeliest
            found[i, [place[name] for name in known]] = list(known.values())
        return found


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> list[Suspect]:
    """Examples whose label is likely wrong, the least doubtful first.

    Args:
        labels: int [n], the given labels.
        probabilities: float [n, k] of a model that has not trained on these examples.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    # How sure the model is of a class, on average over what is labelled so; a class without examples is never likely.
    usual = np.array([own[labels == j].mean() if (labels == j).any() else np.inf for j in range(classes)])
    confident = np.where(probabilities >= usual, probabilities, -np.inf)
    likely = confident.argmax(1)
    margin = confident.max(1) - own
    odd = np.flatnonzero((margin > 0) & (likely != labels) & (own < usual[labels]))
    return [
        Suspect(
            int(i),
            int(labels[i]),
            int(likely[i]),
            float(own[i]),
            float(probabilities[i, likely[i]]),
            float(usual[labels[i]]),
        )
        for i in odd[np.argsort(-margin[odd], kind="stable")]
    ]


def held_out_answers(run: Path) -> Answers:
    """What a run answered about the images that it did not train on.

    Args:
        run: Folder of a finished run with predictions.csv and split.csv.

    Raises:
        UsageFault: The run has no such files.
        DataFault: They do not fit each other.
    """
    file = run / "predictions.csv"
    if not file.is_file() or not (run / "split.csv").is_file():
        raise UsageFault(f"{run} has no predictions.", "Name a run of a recipe that trains a classifier.")
    hashes = {path: row.get("sha256", "") for path, row in read_manifest(run / "split.csv").items()}
    held_out = tuple(one for one in read_predictions(file) if one.part != TRAINING)
    unknown = next((one.path for one in held_out if one.path not in hashes), None)
    if unknown is not None:
        raise DataFault(f"{file} has {unknown}, which split.csv lacks.", "Name a whole run.")
    classes = sorted({name for one in held_out for name in (one.label, *one.likeliest)})
    return Answers(tuple(hashes[one.path] for one in held_out), held_out, tuple(classes))


def label_error_findings(check: Check, run: Path) -> tuple[list[Finding], int]:
    """Likely label errors among the checked images, and how many of them the run can speak about.

    Images are matched by content, and labels are those of the source now: a corrected label is no longer found.

    Raises:
        UsageFault: The run has no predictions.
        DataFault: None of the checked images is among those that the run was evaluated on.
    """
    answers = held_out_answers(run)
    place = {digest: row for row, digest in enumerate(answers.sha256)}
    index = {name: i for i, name in enumerate(answers.classes)}
    known = [
        i
        for i, digest in enumerate(check.sha256)
        if digest in place and check.labels and check.labels[i] in index
    ]
    if not known:
        raise DataFault(
            f"{run} was evaluated on no image of {check.source}.",
            "Name a run that was made from this SOURCE.",
        )
    named = [check.labels[i] for i in known]
    labels = np.array([index[name] for name in named])
    probabilities = answers.probabilities([place[check.sha256[i]] for i in known], named)
    found = suspects(labels, probabilities)
    return [_finding(check.paths[known[s.row]], s, answers.classes) for s in found], len(known)


def _finding(path: str, suspect: Suspect, classes: Sequence[str]) -> Finding:
    given, likely = classes[suspect.given], classes[suspect.likely]
    return finding(
        "label-error",
        path,
        f"{path} is labelled {given}, but the run says {likely} with {suspect.probability_likely:.2f} and {given} "
        f"with {suspect.probability_given:.2f}, where {given} usually gets {suspect.usual:.2f}.",
    )
