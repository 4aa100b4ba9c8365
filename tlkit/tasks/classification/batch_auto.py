"""`--batch auto`: where memory ends, training begins again with half the batch, once, and says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tlkit.core.run import Run
from tlkit.core.system_faults import memory_ended

if TYPE_CHECKING:
    import keras

    from tlkit.engine.training.settings import Fitting

T = TypeVar("T")


def halved_if_need_be(
    run: Run, model: keras.Model, fitting: Fitting, checkpoints: str, fit: Callable[[Fitting], T]
) -> T:
    """Call `fit(fitting)`; where memory ends and the batch is free, once more from the beginning with half of it.

    The half is then the run's option, so that resuming and repeating it need not fail first. The result is that of a
    run with that batch from the start.

    Args:
        run: Of the recipe.
        model: As it is before the first step; it begins again with these weights.
        fitting: Its batch may be halved where `halve` is set.
        checkpoints: The folder in the run that is cleared before the second try.
        fit: Trains the model and returns something.
    """
    begun = model.get_weights() if fitting.halve else []
    try:
        return fit(fitting)
    except Exception as error:
        if not fitting.halve or fitting.batch < 2 or not memory_ended(error):
            raise
    smaller = replace(fitting, batch=fitting.batch // 2, halve=False)
    run.say(
        f"The memory does not hold --batch {fitting.batch}: beginning again with --batch {smaller.batch}."
    )
    run.table.close()
    run.change_option("batch", smaller.batch)
    shutil.rmtree(run.folder.path / checkpoints)
    run.folder.folder(checkpoints)
    run.folder.rewrite_metrics([])
    model.set_weights(begun)
    return fit(smaller)
