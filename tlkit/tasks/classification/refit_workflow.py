"""Refit: fitting the served classifier once more, on training and validation together (`--refit`).

Epochs, temperature and the measures of validation are those of the first fit; the test part is measured once, on the
network that is served. What cannot be known any more, its calibration, is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tlkit.core.run import Run
from tlkit.core.text import count

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.engine.training.fit import Watchers
    from tlkit.engine.training.settings import Phase
    from tlkit.tasks.classification.fit import PhaseResult
    from tlkit.tasks.classification.phases import Learning


class FirstFit(NamedTuple):
    """What is kept of the fit that validation selected, when the network goes on to another.

    Attributes:
        temperature: Fitted on validation.
        validation: float [m, k], its calibrated probabilities of the validation images, in the order of the split.
    """

    temperature: float
    validation: np.ndarray


@dataclass(frozen=True)
class Plan:
    """What a refit needs of the first fit.

    Attributes:
        begun: Weights that it began with.
        phases: Planned.
        results: What they came to.
        learning: From what and how, with the batch that memory held.
    """

    begun: list[np.ndarray]
    phases: Sequence[Phase]
    results: Sequence[PhaseResult]
    learning: Learning


def refit_both(run: Run, model: keras.Model, plan: Plan, folder: str, watchers: Watchers) -> FirstFit:
    """Evaluate the first fit on validation, then fit the network anew on training and validation.

    Args:
        run: Of the recipe.
        model: With the best weights of the first fit; it ends with those of the second.
        plan: What to do again.
        folder: Of the run's checkpoints.
        watchers: Who is told of epochs.
    """
    from tlkit.data.images.sources import VALIDATION
    from tlkit.tasks.classification.calibration import apply_temperature, fit_temperature
    from tlkit.tasks.classification.evaluate import predict_files
    from tlkit.tasks.classification.refit import PREFIX, again, refit_phases

    split = plan.learning.split
    chosen = split.indices(VALIDATION)
    files = [str(split.images.file(i)) for i in chosen]
    with run.progress("evaluating the first fit", len(files)) as step:
        raw = predict_files(model, files, progress=step)
    temperature = fit_temperature(split.images.labels[chosen], raw)
    refits = again(plan.phases, plan.results, run.folder.metrics(), plan.learning.fitting.schedule)
    learned = len(split.indices("training")) + len(chosen)
    epochs = {refit.planned.name: refit.epochs for refit in refits}
    long = ", ".join(f"{name} {count(number, 'epoch')}" for name, number in epochs.items())
    run.say(
        f"Refit on training and validation together, {count(learned, 'image')}: {long}, as was best before."
    )
    model.set_weights(plan.begun)
    refit_phases(model, plan.learning, refits, run.folder.folder(folder) / PREFIX.rstrip("-"), watchers)
    run.record(refit=refit_card(learned, epochs, temperature))
    return FirstFit(temperature, apply_temperature(raw, temperature))


def refit_card(learned: int, epochs: dict[str, int], temperature: float) -> dict[str, Any]:
    """What the card says of a refit."""
    return {
        "parts": ["training", "validation"],
        "images": learned,
        "epochs": epochs,
        "temperature": temperature,
        "calibration": "not measured on the refitted model",
        "note": (
            f"The served network was fitted once more on training and validation together ({count(learned, 'image')}), "
            "with the epochs and the temperature of the first fit. Test and training measures are those of the "
            "refitted network, validation measures those of the first fit. Its calibration was not measured on the "
            "refitted model."
        ),
    }
