"""Are generated images good, various and new? All measures of a small set in one dictionary for card.json.

Arrays in, numbers out. Every figure names the features it was computed from, how many images, and its interval,
because none of them means anything without. The single measures: kid.py (KID, Frechet),
precision_recall.py (precision, recall, density, coverage, memorisation), collapse.py (diversity).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlkit.errors import DataFault
from tlkit.tasks.synthesis.metrics.collapse import diversity
from tlkit.tasks.synthesis.metrics.kid import checked, frechet, kid
from tlkit.tasks.synthesis.metrics.precision_recall import (
    COPY_QUANTILE,
    DENSITY_NEIGHBOURS,
    PRECISION_NEIGHBOURS,
    density_coverage,
    memorisation,
    precision_recall,
)

LEAST = 8  # images; below, none of the measures says anything

Figures = dict[str, Any]


def measure_synthesis(
    training: np.ndarray, held_out: np.ndarray | None, fake: np.ndarray, *, extractor: str, seed: int = 0
) -> Figures:
    """Take every measure of generated images.

    Distances and neighbours are taken against held-out reals where there are at least 8, else against the training
    images (`against` says which); `kid_training` is always against the training images, and `kid_of_reals` is
    what held-out reals score there: a generator cannot be expected to do better.

    Args:
        training: Features of the images learned from, float [n, d], n >= 8.
        held_out: Features of reals not learned from, float [h, d]; None or fewer than 8: no yardstick.
        fake: Features of generated images, float [m, d], m >= 8.
        extractor: What made the features, for people: network, layer, where its weights come from.
        seed: Of all resampling.

    Returns:
        JSON-able: `extractor`, `images` (how many of each), and by name a figure with `value`, `low` and `high`
        (95 %), the images it rests on (`reals`, `fakes`), `against`, `extractor`, and what else it depends on
        (`subset`, `subsets`, `neighbours`, `threshold`). A figure that cannot be had has `value` None and a
        `reason`.

    Raises:
        DataFault: Too few images, features of different lengths, or features that are no numbers.
    """
    training, fake = _features(training, "training"), _features(fake, "generated")
    unseen = None if held_out is None or len(held_out) < LEAST else _features(held_out, "held-out")
    if len({part.shape[1] for part in (training, fake, unseen) if part is not None}) > 1:
        raise DataFault("The features of real and generated images differ in length: one extractor for all.")
    against, real = ("training", training) if unseen is None else ("held_out", unseen)
    common = {"against": against, "reals": len(real), "fakes": len(fake), "extractor": extractor}
    number = 0 if held_out is None else len(held_out)
    reason = f"there are {number} held-out images, fewer than {LEAST}"
    figures: Figures = {
        "extractor": extractor,
        "pictures": {"training": len(training), "held_out": number, "fake": len(fake)},
        "kid": _kid(real, fake, against, extractor, seed),
        "kid_training": _kid(training, fake, "training", extractor, seed),
        "kid_of_reals": {"value": None, "reason": reason, "extractor": extractor}
        if unseen is None
        else _kid(training, unseen, "training", extractor, seed),
        **_neighbours(real, fake, common, seed),
        "memorisation": _memorisation(training, fake, held_out, extractor),
        "diversity": {**diversity(training, fake, seed=seed)._asdict(), **common, "against": "training"},
        "frechet": _frechet(real, fake, common),
    }
    figures["diversity"]["reals"] = len(training)
    return figures


def _features(features: np.ndarray, whose: str) -> np.ndarray:
    if len(features) < LEAST:
        raise DataFault(
            f"There are {len(features)} {whose} images; the measures of synthesis need at least {LEAST}."
        )
    return checked(features, whose)


def _kid(real: np.ndarray, fake: np.ndarray, against: str, extractor: str, seed: int) -> Figures:
    found = kid(real, fake, seed=seed)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "subset": found.subset,
        "subsets": found.subsets,
        "against": against,
        "reals": found.real,
        "fakes": found.fake,
        "extractor": extractor,
    }


def _neighbours(real: np.ndarray, fake: np.ndarray, common: Figures, seed: int) -> Figures:
    pairs = {
        ("precision", "recall"): (precision_recall(real, fake), PRECISION_NEIGHBOURS),
        ("density", "coverage"): (density_coverage(real, fake, seed=seed), DENSITY_NEIGHBOURS),
    }
    return {
        name: {**estimate._asdict(), "neighbours": neighbours, **common}
        for names, (estimates, neighbours) in pairs.items()
        for name, estimate in zip(names, estimates, strict=True)
    }


def _memorisation(
    training: np.ndarray, fake: np.ndarray, held_out: np.ndarray | None, extractor: str
) -> Figures:
    found = memorisation(training, fake, held_out)
    return {
        **found.share._asdict(),
        "held_out": None if found.held_out is None else found.held_out._asdict(),
        "excess": None if found.excess is None else found.excess._asdict(),
        "threshold": found.threshold,
        "quantile": COPY_QUANTILE,
        "duplicates": found.duplicates,
        "against": "training",
        "reals": len(training),
        "held_outs": 0 if held_out is None else len(held_out),
        "fakes": len(fake),
        "extractor": extractor,
    }


def _frechet(real: np.ndarray, fake: np.ndarray, common: Figures) -> Figures:
    try:
        return {"value": frechet(real, fake), **common}
    except DataFault as fault:
        return {"value": None, "reason": fault.problem, **common}
