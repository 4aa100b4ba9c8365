"""Playing a GAN to its end: `fit()` over a stream that follows from (seed, step), checkpoints, exact resume.

Everything is written to one file every so many steps; a run that was interrupted goes on from there as if nothing
had been. A loss, gradient or weight that is not a number takes the GAN back to the last checkpoint with halved rates,
once; the second time the step is kept in a replay and the run has failed. A generator that has collapsed is begun
again with other weights, twice; the third time the run has failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.data.images.synthetic import SETTLED
from tlkit.engine.training import replay as replays
from tlkit.engine.training.checkpoints import LAST, Keeper
from tlkit.engine.training.nan_guard import listed
from tlkit.errors import DataFault, RunFailed
from tlkit.tasks.synthesis.dcgan import check_size
from tlkit.tasks.synthesis.gan import Gan, look_at_gan
from tlkit.tasks.synthesis.settings import LEAST_IMAGES
from tlkit.tasks.synthesis.total_collapse import Collapse, constant_reason

BEGUN_AGAIN = 2  # how often a collapsed GAN is
OTHER_SEED = 1_000_003  # from one beginning to the next: far from the seeds that people give to other runs
REMEDY = "Start a new run with another --seed, a lower --learning-rate, or more images."


@dataclass
class GanWatchers:
    """Who is told what happens; each may be absent.

    Attributes:
        step: (steps done, steps in all, logs) after every step; logs has images_per_second.
        checkpoint: (steps done, GAN) -> a reason to stop, a `Collapse`, or None.
        note: A sentence about something that happened, such as a rollback.
    """

    step: Callable[[int, int, dict[str, float]], None] = field(default=lambda *_: None)
    checkpoint: Callable[[int, Gan], str | None] = field(default=lambda *_: None)
    note: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True)
class GanResult:
    """What a GAN came to.

    Attributes:
        steps: Steps done in all, those before an interruption counted.
        images: Real images shown, repetitions counted.
        seconds: Wall time of the steps in all.
        stopped: Why it ended.
        notes: What was said on the way.
        begun_again: At which steps, because the generator had collapsed.
    """

    steps: int
    images: int
    seconds: float
    stopped: str
    notes: tuple[str, ...]
    begun_again: tuple[int, ...] = ()


def check_images(images: np.ndarray, size: int, channels: int) -> None:
    """Raise where a GAN cannot be played with images float32 [n, s, s, c], 0..1.

    Raises:
        UsageFault: The size cannot be made.
        DataFault: Too few, of another shape, not numbers, out of range, or all alike.
    """
    check_size(size)
    if len(images) < LEAST_IMAGES:
        raise DataFault(
            f"A GAN needs at least {LEAST_IMAGES} images; here are {len(images)}.",
            "Add images, or move fewer of them into the validation and test parts.",
        )
    if images.shape[1:] != (size, size, channels):
        raise DataFault(
            f"The images have shape {images.shape[1:]}, the networks take {(size, size, channels)}.",
            "Read them with the same --size and --channels.",
        )
    faulty = np.flatnonzero(~np.isfinite(images).all((1, 2, 3)))
    if len(faulty):
        raise DataFault(f"Image {faulty[0]} holds values that are not numbers.", "Leave it out or mend it.")
    if images.min() < 0 or images.max() > 1:
        raise DataFault(
            f"The images lie between {images.min():g} and {images.max():g}, not 0 and 1.",
            "Divide 8-bit values by 255 and 16-bit values by 65535.",
        )
    if np.ptp(images, axis=0).max() == 0:
        raise DataFault("All images are the same.", "Give images that differ.")


def image_stream(
    images: np.ndarray, labels: np.ndarray | None, batch: int, seed: int, first: int
) -> tf.data.Dataset:
    """(float32 [b, s, s, c], -1..1; int32 [b]) for every step from `first` on, without end.

    Each image comes once in a round, in an order that follows from (seed, round); a batch may span rounds.
    """
    count = len(images)
    pixels = tf.constant(images * 2 - 1, tf.float32)
    kinds = tf.constant(np.zeros(count) if labels is None else labels, tf.int32)

    def of_step(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = images_of_step(step, count, batch, seed)
        return tf.gather(pixels, chosen), tf.gather(kinds, chosen)

    return tf.data.Dataset.range(first, 2**62).map(of_step, num_parallel_calls=1).prefetch(2)


def images_of_step(step: tf.Tensor, count: int, batch: int, seed: int) -> tf.Tensor:
    """int32 [batch]: which of `count` images are shown in a step, int64 scalar from 0."""
    base = tf.constant([seed % 2**31, 1], tf.int32)

    def order(number: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.stateless_shuffle(tf.range(count), fold(base, number))

    start = step * batch
    rounds = tf.range(start // count, (start + batch - 1) // count + 1)
    orders = tf.reshape(tf.map_fn(order, rounds, fn_output_signature=tf.TensorSpec([count], tf.int32)), [-1])
    begin = tf.cast(start % count, tf.int32)
    return tf.ensure_shape(orders[begin : begin + batch], [batch])


def fit_gan(
    gan: Gan,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    steps: int,
    minutes: float | None = None,
    folder: Path,
    every: int = 500,
    names: Sequence[str] = (),
    watchers: GanWatchers | None = None,
) -> GanResult:
    """Play until `steps` are done, the minutes are over or a watcher has a reason to stop.

    Args:
        gan: What to play; its seed is the order's seed too.
        images: float32 [n, s, s, c], 0..1.
        labels: int [n] where the networks are conditioned on classes.
        steps: At most so many, those before an interruption counted; from anew where the GAN is begun again.
        minutes: Stop at the first step after so much wall time, the time before an interruption counted.
        folder: Where the checkpoint lies; what is found there is gone on from.
        every: Steps from one checkpoint to the next.
        names: [n] the images' files, for the sentence about a step that was not finite.
        watchers: Who is told.

    Raises:
        DataFault, UsageFault: See `check_images`; or the checkpoint was begun with other settings.
        RunFailed: Values were not numbers a second time (step and files are named, and a replay is kept), the
            generator collapsed a third time, or a checkpoint is damaged or of another model.
    """
    check_images(images, gan.generator.size, gan.generator.channels)
    _check_labels(labels, gan.generator.classes, len(images))
    keeper = _GanKeeper(steps, minutes, Path(folder), every, watchers or GanWatchers())
    keeper.set_model(gan)
    keeper.images, keeper.labels, keeper.names = images, labels, names
    keeper.restore()
    while not keeper.ended():
        first = int(gan.step)
        gan.fit(
            image_stream(images, labels, gan.play.batch, gan.seed, first),
            steps_per_epoch=keeper.end - first,
            callbacks=[keeper],
            shuffle=False,  # the stream has its own order
            verbose=0,
        )
    state = keeper.state
    if state["collapsed"]:
        raise RunFailed(
            f"The generator has collapsed at step {int(gan.step)}, {len(state['begun_again'])} times begun again: "
            f"{state['collapsed']}",
            REMEDY,
        )
    notes, begun_again = tuple(state["notes"]), tuple(state["begun_again"])
    return GanResult(
        int(gan.step), gan.images, round(state["seconds"], 3), state["stopped"], notes, begun_again
    )


def _check_labels(labels: np.ndarray | None, classes: int, count: int) -> None:
    if not classes:
        return
    if labels is None or len(labels) != count or np.min(labels) < 0 or np.max(labels) >= classes:
        raise DataFault(
            f"Networks conditioned on {classes} classes need a label from 0 to {classes - 1} for each image.",
            "Give a source with class folders.",
        )


class _GanKeeper(Keeper):
    """Keeps checkpoints, stops in time, and takes the GAN back when values are not numbers."""

    def __init__(self, steps, minutes, folder, every, watchers) -> None:
        state = {
            "seconds": 0.0,
            "rollbacks": 0,
            "notes": [],
            "stopped": "",
            "reason": "",
            "begun_again": [],
            "collapsed": "",
        }
        super().__init__("The GAN", folder, state)
        self.steps, self.minutes, self.every, self.watchers = steps, minutes, every, watchers

    @property
    def variables(self) -> list[Any]:
        """Those of both networks, their average, and of the GAN itself."""
        return self.model.state

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when the GAN is gone on with."""
        return {**asdict(self.model.play), "pictures": len(self.images), "seed": self.model.seed}

    def check(self, settings: dict[str, Any]) -> None:
        """A GAN begun before there was a penalty on saturation goes on without it."""
        if "saturation" not in settings:
            self.model.play = replace(self.model.play, saturation=0.0)
        super().check(settings)

    def restore(self) -> None:
        """Go on where an interrupted GAN stopped, or write down where this one begins."""
        self._spent = 0.0
        if (self.folder / LAST).is_file():
            new = self.state
            self.load()
            self.state = {**new, **self.state}  # a checkpoint of before may lack the newest fields
            self._spent = self.state["seconds"]
            self.model.begun = self.state["begun_again"][-1] if self.state["begun_again"] else 0
        else:
            self.save()

    @property
    def end(self) -> int:
        """The last step."""
        return self.model.begun + self.steps

    def ended(self) -> bool:
        """Whether there is nothing more to do; writes down why."""
        if self.state["reason"]:
            self.state["stopped"] = self.state["reason"]
        elif int(self.model.step) >= self.end:
            self.state["stopped"] = "all steps done"
        elif self.minutes is not None and self.state["seconds"] >= self.minutes * 60:
            self.state["stopped"] = f"{self.minutes:g} minutes are over"
        else:
            self.state["stopped"] = ""
        return bool(self.state["stopped"])

    # --- what Keras calls ---

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._began = self._last = time.monotonic()
        self._rate = 0.0
        self._step = int(self.model.step)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        logs, now = dict(logs or {}), time.monotonic()
        self._step += 1
        if not np.isfinite([logs["critic_loss"], logs["generator_loss"], logs["r1"]]).all():
            self._roll_back()
            return
        self.state["seconds"] = self._spent + now - self._began
        speed = self.model.play.batch / max(now - self._last, 1e-9)
        self._rate = 0.95 * self._rate + 0.05 * speed if self._rate else speed
        self._last = now
        self.watchers.step(
            self._step - self.model.begun, self.steps, {**logs, "images_per_second": self._rate}
        )
        over = self.minutes is not None and self.state["seconds"] >= self.minutes * 60
        if self._step % self.every == 0 or self._step >= self.end or over:
            self._keep()

    # --- the rest ---

    def _keep(self) -> None:
        """Write a checkpoint, ask whether to stop."""
        if not all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in self.model.state):
            self._roll_back(counted=True)
            return
        told = self.watchers.checkpoint(self._step, self.model) or ""
        settled = self._step - self.model.begun >= SETTLED
        lost = (constant_reason(self.model, self.images) if settled else None) or (
            str(told) if isinstance(told, Collapse) else ""
        )
        self.state["seconds"] = self._spent + time.monotonic() - self._began
        if lost and len(self.state["begun_again"]) < BEGUN_AGAIN:
            self._begin_again(lost)
        else:
            self.state["collapsed"], self.state["reason"] = lost, lost or str(told)
        if self.ended():
            self.model.stop_training = True
        self.save()

    def _begin_again(self, reason: str) -> None:
        """Go on with new networks from the step that is next."""
        number = len(self.state["begun_again"]) + 1
        seed = self.model.seed + number * OTHER_SEED
        self.model.begin_again(seed)
        self.state["begun_again"].append(self._step)
        note = (
            f"Collapsed at step {self._step}: {reason} Begun again ({number} of {BEGUN_AGAIN}) with weights drawn "
            f"from seed {seed}."
        )
        self.state["notes"].append(note)
        self.watchers.note(note)

    def _roll_back(self, *, counted: bool = False) -> None:
        """Read the last checkpoint and halve the rates, once; the second time the run has failed.

        Args:
            counted: Whether the step was learned from, so that it cannot be repeated.
        """
        files: tuple[str, ...] = ()
        if self.names and not counted:  # those of the step that is next
            step = tf.cast(self.model.step.value, tf.int64)
            chosen = images_of_step(step, len(self.images), self.model.play.batch, self.model.seed)
            files = tuple(self.names[i] for i in chosen.numpy())
        where = f"at step {self._step}" + (f", with these files: {listed(files)}" if files else "")
        if self.state["rollbacks"]:
            kept = "" if counted else self._keep_replay(files)
            raise RunFailed(
                f"A loss or weight was not a number {where}, again after a rollback with halved rates.",
                f"Lower --learning-rate, or raise --r1.{kept}",
            )
        seconds = self.state["seconds"]
        self.load()
        self.model.halve_rates()
        note = (
            f"A loss or weight was not a number {where}: back to step {int(self.model.step)} "
            "with halved learning rates."
        )
        self.state["notes"].append(note)
        self.state.update(rollbacks=1, seconds=seconds)
        self._spent = seconds
        self.save()
        self.watchers.note(note)
        self.model.stop_training = True

    def _keep_replay(self, files: tuple[str, ...]) -> str:
        """Write the step that is next, which changed nothing; returns what to say of it."""
        gan = self.model
        data = image_stream(self.images, self.labels, gan.play.batch, gan.seed, int(gan.step))
        batch = next(iter(data))
        facts = {
            "generator": keras.saving.serialize_keras_object(gan.generator),
            "critic": keras.saving.serialize_keras_object(gan.discriminator),
            "play": asdict(gan.play),
        }
        found = look_at_gan(gan, batch)  # nothing changes
        rate = float(keras.ops.convert_to_numpy(gan.discriminator_optimizer.learning_rate))
        place: dict[str, Any] = {"phase": "game", "epoch": 0, "step": int(gan.step) + 1, "files": files}
        replay = replays.Replay(
            "game", **place, seed=gan.seed, learning_rate=rate, found=found, network=facts
        )
        there = replays.write(self.folder, replay, gan.state, batch, None)
        return f" tlkit replay {there} repeats the step and says more."
