"""NaN guard: a training step in which anything is NaN or infinite changes nothing.

Asked are the batch and the weights that learn as they enter the step, the loss and the gradients; all other variables
at the end of an epoch, before anything of it is kept. The loss alone does not tell:
with oneDNN, TensorFlow's fused relu of NaN is 0, max pooling passes NaN over on every processor, and relu6 of infinity
is 6, so a network can swallow what is no number and learn on from nothing.

What a step would have changed (weights, optimiser slots, statistics of batch normalisation, states of seeds) stays
as it was before it, and its loss in the logs is NaN, which the loop around it reads anyway. So the step can be
repeated, by hand or from a file (replay.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2


def finite(tensors: Sequence[Any]) -> tf.Tensor:
    """Bool scalar: whether no value is NaN or infinite; None among the tensors counts as finite.

    One sum a tensor is the cheapest question that tells: it is finite only if all values are. (Values beyond 1e30
    may add up to infinity; training is over then too.)
    """
    values = [t.values if isinstance(t, tf.IndexedSlices) else t for t in tensors if t is not None]
    # float16 as float32, lest sound values add up to infinity
    wide = [tf.cast(value, tf.float32) if value.dtype == tf.float16 else value for value in values]
    sums = [tf.cast(tf.reduce_sum(value), tf.float32) for value in wide]
    return tf.math.is_finite(tf.add_n(sums)) if sums else tf.constant(True)


def floats(tree: Any) -> list[tf.Tensor]:
    """The tensors and variables of a structure that can hold NaN; of a batch of images uint8, none of its pixels."""
    leaves = (tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(tree) if leaf is not None)
    return [leaf for leaf in leaves if leaf.dtype.is_floating]


class Guard:
    """Guards the training steps of a compiled Keras model inside a `with`.

    Under a loss scale (float16) gradients overflow as a matter of course and the optimiser passes over them itself;
    there they are not asked.

    Args:
        model: Its `train_step` and optimiser are replaced for the length of the `with`; enter before `fit`.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model: Any = model
        self.optimizer: Any = model.optimizer
        self.scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    def __enter__(self) -> Self:
        self._step: Callable = self.model.train_step
        self._apply: Callable = self.optimizer.apply
        self._scale: Callable = self.optimizer.scale_loss
        self.model.train_step = self.step
        self.optimizer.apply, self.optimizer.scale_loss = self.apply, self.scale_loss
        return self

    def __exit__(self, *_: object) -> None:
        del self.model.train_step, self.optimizer.apply, self.optimizer.scale_loss

    # --- what stands in for the model's and the optimiser's own, while a step is traced ---

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Remember the step's own loss, which the logs only hold as a mean."""
        self._loss = loss
        return self._scale(loss)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Apply gradients if all is finite."""
        gradients = list(gradients)
        limit = None if self.scaled else self.optimizer.global_clipnorm
        asked: list[Any] = [] if self.scaled else gradients
        if limit:  # the norm that clips is finite only if all gradients are, so they are looked at once
            gradients, norm = tf.clip_by_global_norm(gradients, limit)
            asked = [norm]
        self._sound = finite([*self._entered, self._loss, *asked])
        if self.scaled:
            only_if(self._sound, lambda: self._apply(gradients, variables), self._restore)
            return
        self.optimizer.global_clipnorm = None  # done
        try:
            only_if(self._sound, lambda: self._apply(gradients, variables), self._restore)
        finally:
            self.optimizer.global_clipnorm = limit

    def step(self, data: Any) -> dict[str, Any]:
        """The model's own step; where it was not sound, everything as before and NaN as its loss."""
        moved = self.model.non_trainable_variables  # statistics and seeds move without the optimiser
        self._before = [(variable, tf.identity(variable.value)) for variable in moved]
        weights = [
            variable.value for variable in self.model.trainable_variables
        ]  # what a step changes and uses
        self._entered = [*floats(data), *floats(weights)]
        self._sound = finite(self._entered)
        logs = self._step(data)
        loss = tf.convert_to_tensor(logs["loss"])
        return {**logs, "loss": tf.where(self._sound, loss, tf.constant(math.nan, loss.dtype))}

    def _restore(self) -> None:
        for variable, value in self._before:
            variable.assign(value)


def only_if(
    condition: tf.Tensor, action: Callable[[], object], otherwise: Callable[[], object] = lambda: None
) -> None:
    """Do something in the graph where the condition holds, and something else, or nothing, where it does not."""

    def branch(act: Callable[[], object], holds: bool) -> Callable[[], tf.Tensor]:
        def run() -> tf.Tensor:
            act()
            return tf.constant(holds)

        return run

    _whole(tf.cond(condition, branch(action, True), branch(otherwise, False)))


def _whole(result: tf.Tensor) -> None:
    """Run the `If` behind a result as one kernel: hundreds of variables need no `Switch` each (half of its cost)."""
    if not tf.executing_eagerly():
        operation = next(i.op for i in result.op.inputs if i.op.type in ("If", "StatelessIf"))
        operation._set_attr("_lower_using_switch_merge", attr_value_pb2.AttrValue(b=False))


@dataclass(frozen=True)
class Findings:
    """What was not finite in one step.

    Attributes:
        loss: The step's loss, or the losses by name.
        gradients: Paths of the variables whose gradient was not finite.
        asked: How many gradients there are.
        weights: Paths of the variables that were not finite before the step, or too large to be added up.
        inputs: Which examples of the batch, from 0, held values that were not finite.
        outputs: Which examples had outputs that were not finite.
    """

    loss: dict[str, float]
    gradients: tuple[str, ...]
    asked: int
    weights: tuple[str, ...] = ()
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether all was finite."""
        lost = not all(math.isfinite(value) for value in self.loss.values())
        return not (lost or self.gradients or self.weights or self.inputs)

    def sentences(self, files: Sequence[str] = ()) -> list[str]:
        """One line for each kind of thing that was not finite, for people; `files` names the examples."""
        bad = {name: value for name, value in self.loss.items() if not math.isfinite(value)}
        lines = [f"{name.replace('_', ' ')}: {value}" for name, value in bad.items()]
        if self.gradients:
            lines.append(f"gradients: {len(self.gradients)} of {self.asked}: {listed(self.gradients)}")
        if self.weights:
            lines.append(f"weights before the step: {listed(self.weights)}")
        for what, places in (("input", self.inputs), ("output", self.outputs)):
            if places:
                lines.append(f"{what} of: {listed([_named(files, place) for place in places])}")
        return lines

    def named_inputs(self, files: Sequence[str] = ()) -> list[str]:
        """The examples whose values were not finite as they entered, for people."""
        return [_named(files, place) for place in self.inputs]


def _named(files: Sequence[str], place: int) -> str:
    return files[place] if place < len(files) else f"example {place + 1}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def not_finite(variables: Sequence[Any]) -> tuple[str, ...]:
    """Paths of the variables that are not finite, or too large to be added up: the guard's own question."""
    return tuple(v.path for v in variables if not bool(finite(floats([v.value]))))


def paths_not_finite(variables: Sequence[Any], gradients: Sequence[Any]) -> tuple[str, ...]:
    """Paths of the variables whose gradient (a tensor, slices or None) is not finite."""
    pairs = zip(variables, gradients, strict=True)
    return tuple(v.path for v, slope in pairs if slope is not None and not bool(finite([slope])))


def examples_not_finite(tree: Any) -> tuple[int, ...]:
    """Which places along the first axis of any array in a structure hold values that are not finite."""
    bad: set[int] = set()
    for leaf in tf.nest.flatten(tree):
        array = np.asarray(leaf)
        floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
        if floating and array.ndim and array.size:
            rows = array.astype(np.float64).reshape(len(array), -1)
            bad |= set(np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist())
    return tuple(sorted(bad))


def look(model: keras.Model, batch: Any, learned: Sequence[Any] | None = None) -> Findings:
    """Compute loss and gradients of one batch as a training step does, and say what is not finite.

    Weights stay; statistics of batch normalisation and seeds move on as in any step.

    Args:
        model: With a loss.
        batch: (x, y) or (x, y, weights).
        learned: The variables that learn; the model's trainable ones if None.
    """
    network: Any = model
    learned = network.trainable_variables if learned is None else learned
    weights = not_finite(network.variables)
    x, y, share = keras.utils.unpack_x_y_sample_weight(batch)

    def compute(x: Any, y: Any, share: Any) -> tuple[tf.Tensor, list, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in learned])
            found = network(x, training=True)
            loss = network.compute_loss(x=x, y=y, y_pred=found, sample_weight=share, training=True)
        gradients = tape.gradient(loss, [variable.value for variable in learned])
        return loss, gradients, found

    loss, gradients, found = tf.function(compute, autograph=False)(x, y, share)
    return Findings(
        loss={"loss": float(loss)},
        gradients=paths_not_finite(learned, gradients),
        asked=len(learned),
        weights=weights,
        inputs=examples_not_finite([leaf for leaf in (x, y, share) if leaf is not None]),
        outputs=examples_not_finite(found),
    )
