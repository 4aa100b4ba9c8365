"""SavedModel signatures: what those of classifiers, detectors and generators have in common.

The class names are a signature of their own, a constant, so that nobody has to ask a network for them. Where a request
holds no images the graph passes its network over: with oneDNN a convolution of TensorFlow 2.21 inside a `tf.function`
gives an empty batch the shape of its input, and what follows fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from tlkit.core.run_folder import read_card
from tlkit.core.safe_loading.saved_models import damaged, first_line
from tlkit.errors import ModelFault, TlkitError, UsageFault

CLASSES = "classes"  # the signature, and its output


def classes_signature(names: tuple[str, ...] | list[str]) -> Any:
    """The signature `classes`: it takes nothing and answers {"classes": string [k]}."""
    return tf.function(lambda: {CLASSES: tf.constant([*names])}, input_signature=[], autograph=False)


def unless_empty(images: tf.Tensor, network: Callable[[], Any], outputs: Any) -> Any:
    """What a network says of images, or nothing of nothing, without running it.

    Args:
        images: [n, ...].
        network: Called in the branch for n > 0 alone.
        outputs: Tensors or specs of what it gives, any nest; each [n, ...], of known shape beyond n.

    Returns:
        The nest of `outputs`; where n is 0 arrays [0, ...] of their dtypes.
    """

    def nothing() -> Any:
        return tf.nest.map_structure(lambda one: tf.zeros([0, *one.shape[1:]], one.dtype), outputs)

    return tf.cond(tf.shape(images)[0] > 0, network, nothing)


@contextmanager
def loading(folder: Path, what: str, recipes: str = "") -> Iterator[None]:
    """Let what is wrong with a SavedModel be said in one sentence, whatever TensorFlow and we stumble over.

    Args:
        folder: Where it lies.
        what: It should be, such as "generator".
        recipes: Which make one; none are named where this is empty.

    Raises:
        ModelFault: It is not there, or is no such thing.
    """
    try:
        yield
    except TlkitError:
        raise
    except Exception as fault:
        raise ModelFault(
            f"{folder} holds no {what} that can be read.",
            f"Name the folder of a finished run{f' of {recipes}' if recipes else ''}.",
        ) from fault


@contextmanager
def answering(folder: Path) -> Iterator[None]:
    """Let what a SavedModel breaks on be said in one sentence, but for inputs that it refuses and memory that ends.

    Raises:
        ModelFault: It cannot be asked, whatever it is asked for.
    """
    try:
        yield
    except (TlkitError, MemoryError, tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as fault:
        raise damaged(folder, f"it gives no answer ({first_line(fault)})") from fault


def served_classes(model: Any, folder: Path, ask: Callable[[], dict[str, tf.Tensor]]) -> tuple[str, ...]:
    """The class names of a loaded SavedModel, which may have been written before there was a signature for them.

    They come from the signature `classes`; where it is missing from the card.json beside, if that names as many as the
    model has; else from one call.

    Args:
        model: What `tf.saved_model.load` gave.
        folder: Where it lies.
        ask: Calls the model once, with one image.

    Raises:
        KeyError: It is no SavedModel of ours.
    """
    if CLASSES in model.signatures:
        answer = model.signatures[CLASSES]()
    else:
        number = model.signatures["serving_default"].structured_outputs[CLASSES].shape[0]
        if named := _named_in_card(folder, number):
            return named
        answer = ask()
    return tuple(name.decode() for name in answer[CLASSES].numpy())


def _named_in_card(folder: Path, number: int) -> tuple[str, ...]:
    """The classes of a run's card; none where there is no card, or it names another number of them."""
    try:
        card = read_card(folder)
    except UsageFault:
        return ()
    names = card.get(CLASSES) if isinstance(card, dict) else None
    fits = isinstance(names, list) and len(names) == number and all(isinstance(name, str) for name in names)
    return tuple(names) if fits and names else ()
