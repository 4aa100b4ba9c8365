"""What a trained generator can be asked: samples, mixed styles, walks, truncation, and the latent of a real image.

Image i of a seed depends on (seed, i) only: not on how many are asked for, nor on the batch they are painted in.
A `Gan` may be given for its averaged generator. Images are float32 in 0..1 here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.gan import Gan
from tlkit.tasks.synthesis.stylegan import StyleGenerator

BATCH = 32
LEVELS = ("coarse", "middle", "fine")
# px: coarse is up to 8 px, middle 16 px, fine what is above (Karras 2019, figure 3, to scale)
COARSE, MIDDLE = 8, 16


class Mixed(NamedTuple):
    """Style mixing: images of the rows' and columns' own latents, and row i in the style of column j.

    Attributes:
        rows: float32 [r, s, s, c], source A.
        columns: float32 [k, s, s, c], source B, whose styles are taken over at the chosen level.
        grid: float32 [r, k, s, s, c].
    """

    rows: np.ndarray
    columns: np.ndarray
    grid: np.ndarray


class Projection(NamedTuple):
    """A real image found again.

    Attributes:
        code: float32 [d]: w of a StyleGAN, z of a DCGAN.
        image: float32 [s, s, c], 0..1: what the generator makes of the code.
        errors: float32 [steps]: the loss before each step.
    """

    code: np.ndarray
    image: np.ndarray
    errors: np.ndarray


def generator_of(source: Any) -> Any:
    """A generator, or a GAN's averaged one."""
    return source.average if isinstance(source, Gan) else source


def random_latents(source: Any, n: int, seed: int) -> np.ndarray:
    """float32 [n, latent], normal; row i depends on (seed, i) only."""
    length = generator_of(source).latent
    rows = [np.random.default_rng([seed, i]).standard_normal(length, np.float32) for i in range(n)]
    return np.array(rows, np.float32).reshape(-1, length)


def random_labels(source: Any, n: int, seed: int) -> np.ndarray:
    """int32 [n], every class equally likely; zeros where the generator knows none."""
    classes = max(1, generator_of(source).classes)
    return np.array([np.random.default_rng([seed, i, 1]).integers(classes) for i in range(n)], np.int32)


def sample(
    source: Any,
    latents: np.ndarray | int,
    n: int | None = None,
    *,
    truncation: float = 1.0,
    labels: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Paint images.

    Args:
        source: A generator or a GAN.
        latents: float32 [n, latent], all painted with the same noise; or a seed, of latents, noise and labels.
        n: How many, where a seed is given.
        truncation: 1 leaves the latents; towards 0 images become more alike and more plausible.
        labels: int [n] for a generator that knows classes; drawn from the seed where they are absent.

    Returns:
        float32 [n, s, s, c], 0..1.

    Raises:
        UsageFault: Latents of another length, labels that are no class, or no number of images.
    """
    generator, noise_seeds = generator_of(source), None
    if isinstance(latents, int | np.integer):
        if n is None or n < 1:
            raise UsageFault(f"--number {n} images cannot be made.", "Ask for at least 1.")
        seed = int(latents)
        latents = random_latents(generator, n, seed)
        noise_seeds = np.stack([np.full(n, seed % 2**31), np.arange(n)], 1).astype(np.int32)
        labels = random_labels(generator, n, seed) if labels is None else labels
    latents = checked_latents(generator, latents)
    kinds = checked_labels(generator, labels, len(latents))

    def make(chosen: slice) -> tf.Tensor:
        seeds = None if noise_seeds is None else tf.constant(noise_seeds[chosen])
        return generator(
            tf.constant(latents[chosen]), tf.constant(kinds[chosen]), seeds, truncation=truncation
        )

    return _in_batches(make, len(latents), generator)


def _in_batches(make: Callable[[slice], tf.Tensor], count: int, generator: Any) -> np.ndarray:
    """Images float32 [count, s, s, c], 0..1, of a painter of slices."""
    made = [shown(make(slice(start, start + BATCH))) for start in range(0, count, BATCH)]
    empty = np.zeros((0, generator.size, generator.size, generator.channels), np.float32)
    return np.concatenate([empty, *made])


def shown(images: tf.Tensor) -> np.ndarray:
    """From the networks' -1..1 to 0..1; a StyleGAN's values beyond are clipped."""
    return np.clip(np.asarray(images, np.float32) * 0.5 + 0.5, 0, 1)


def checked_latents(generator: Any, latents: np.ndarray) -> np.ndarray:
    """The latents as float32, or UsageFault where they do not fit."""
    latents = np.asarray(latents, np.float32)
    if latents.ndim != 2 or latents.shape[1] != generator.latent:
        raise UsageFault(
            f"Latents of shape {list(latents.shape)} do not fit; the generator takes [n, {generator.latent}].",
            "Give a seed, or latents of that length.",
        )
    return latents


def checked_labels(generator: Any, labels: Sequence[int] | np.ndarray | None, count: int) -> np.ndarray:
    """The labels as int32 [n] (zeros where absent), or UsageFault where they are no class."""
    kinds = np.zeros(count, np.int32) if labels is None else np.asarray(labels, np.int32)
    if len(kinds) != count or (
        count and generator.classes and not 0 <= kinds.min() <= kinds.max() < generator.classes
    ):
        raise UsageFault(
            f"{len(kinds)} labels do not fit {count} images of {generator.classes} classes.",
            f"Give each image a label from 0 to {max(0, generator.classes - 1)}.",
        )
    return kinds


# --- styles ---


def level_layers(generator: StyleGenerator, level: str) -> list[int]:
    """Numbers of the layers that make a level: coarse up to 8 px, middle 16 px, fine above."""
    if not isinstance(generator, StyleGenerator):
        raise UsageFault("Only a StyleGAN's styles can be mixed.", "Use a run of synthesize-stylegan.")
    if level not in LEVELS:
        raise UsageFault(f"--level {level} is not known.", f"Choose from {', '.join(LEVELS)}.")
    chosen, number = [], 0
    for place, layers in enumerate(generator.synthesis.levels):
        side = 4 * 2**place
        of_side = LEVELS[0] if side <= COARSE else LEVELS[1] if side <= MIDDLE else LEVELS[2]
        chosen += [number + i for i in range(len(layers)) if of_side == level]
        number += len(layers)
    return chosen


def mix_styles(
    source: Any,
    rows: np.ndarray | Sequence[int],
    columns: np.ndarray | Sequence[int],
    level: str = "coarse",
) -> Mixed:
    """Row i's image with the styles of column j at one level (Karras 2019, figure 3).

    Args:
        source: A StyleGAN generator or its GAN.
        rows: Latents float32 [r, latent] or seeds int [r], source A.
        columns: Latents or seeds [k], source B.
        level: "coarse" (pose, form), "middle" or "fine" (texture): which layers follow the column.
    """
    generator = generator_of(source)
    chosen = level_layers(generator, level)
    a, b = (generator.spread(_styles(generator, given)) for given in (rows, columns))
    follow = tf.constant([number in chosen for number in range(generator.layers_in_all)])
    mixed = tf.where(follow[None, None, :, None], b[None], a[:, None])  # [r, k, layers, d]
    flat = tf.reshape(mixed, [-1, *mixed.shape[2:]])
    grid = sample_styles(generator, flat)
    return Mixed(
        sample_styles(generator, a),
        sample_styles(generator, b),
        grid.reshape(a.shape[0], b.shape[0], *grid.shape[1:]),
    )


def _styles(generator, given) -> tf.Tensor:
    given = np.asarray(given)
    if given.ndim == 1:
        drawn = [random_latents(generator, 1, int(seed)) for seed in given]
        given = np.array(drawn, np.float32).reshape(-1, generator.latent)
    latents = checked_latents(generator, given)
    if not len(latents):
        return tf.constant(latents)  # no network is asked about nothing
    return generator.styles(tf.constant(latents), checked_labels(generator, None, len(latents)))


def sample_styles(generator: StyleGenerator, w: tf.Tensor) -> np.ndarray:
    """Images float32 [n, s, s, c], 0..1, of w [n, layers, d], all with the same noise."""
    return _in_batches(lambda chosen: generator.synthesis(w[chosen]), len(w), generator)


# --- walks ---


def interpolate(
    source: Any,
    latents: np.ndarray,
    frames: int,
    *,
    space: str = "w",
    loop: bool = True,
    labels: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Walk from latent to latent.

    Args:
        source: A generator or a GAN.
        latents: float32 [k, latent], the stations.
        frames: Images from one station to the next, the next itself not counted.
        space: "w": straight lines between styles (a StyleGAN); "z": along the sphere (slerp, White 2016).
        loop: Return to the first station; else end at the last one.
        labels: int [k]: the class of each station.

    Returns:
        float32 [k * frames, s, s, c] of a loop, else [(k - 1) * frames + 1, s, s, c].
    """
    generator = generator_of(source)
    latents = checked_latents(generator, latents)
    kinds = checked_labels(generator, labels, len(latents))
    if not len(latents):
        return sample(generator, latents)
    if space == "w" and isinstance(generator, StyleGenerator):
        stations = np.asarray(generator.styles(tf.constant(latents), tf.constant(kinds)))
        walk = _walk(stations, frames, loop, lambda a, b, t: a + (b - a) * t)
        return sample_styles(generator, generator.spread(tf.constant(walk)))
    walk = _walk(latents, frames, loop, slerp)
    each = np.arange(len(walk)) // frames  # a frame has the class of the station it left
    return sample(generator, walk, labels=kinds[each])


def _walk(stations: np.ndarray, frames: int, loop: bool, between: Callable) -> np.ndarray:
    following = np.roll(stations, -1, 0)
    legs = list(zip(stations, following, strict=True))[: None if loop else -1]
    path = [between(a, b, step / frames) for a, b in legs for step in range(frames)]
    return np.stack(path if loop else [*path, stations[-1]]).astype(np.float32)


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """The point at share t of the arc from a to b, float [d] each: normal latents lie near a sphere."""
    cosine = np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return a + (b - a) * t
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def truncation_sweep(
    source: Any,
    latents: np.ndarray,
    values: Sequence[float],
    *,
    labels: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """float32 [values, n, s, s, c]: the same latents at each truncation."""
    return np.stack([sample(source, latents, truncation=value, labels=labels) for value in values])


# --- the way back ---


def project(
    source: Any,
    image: np.ndarray,
    steps: int = 300,
    *,
    rate: float = 0.05,
    seed: int = 0,
    label: int = 0,
    starts: int = 64,
) -> Projection:
    """Find the code whose image is nearest to a real one (Karras 2020, section 5, without a trained measure).

    The best of some random codes is bettered by Adam, with a rate that falls along a cosine. Nearness is the mean
    squared difference, summed over a pyramid of halved images, so that form counts before detail.

    Args:
        source: A generator or a GAN.
        image: float32 [s, s, c], 0..1.
        steps: Of Adam.
        rate: Adam's first rate.
        seed: Of the starts.
        label: The class, where the generator knows any.
        starts: How many random codes are tried first.

    Raises:
        UsageFault: The image has another shape, or there is no start.
    """
    generator = generator_of(source)
    wanted = (generator.size, generator.size, generator.channels)
    if np.shape(image) != wanted:
        raise UsageFault(f"An image of shape {np.shape(image)} cannot be projected.", f"It must be {wanted}.")
    if starts < 1:
        raise UsageFault(f"Of {starts} starts none can be the best.", "Try at least 1.")
    goal = tf.constant(np.asarray(image, np.float32)[None] * 2 - 1)
    latents = tf.constant(random_latents(generator, starts, seed))
    kinds = tf.fill([starts], label)
    if isinstance(generator, StyleGenerator):
        codes, make = generator.styles(latents, kinds), lambda w: generator.synthesis(generator.spread(w))
    else:
        codes, make = latents, lambda z: generator(z, tf.fill([tf.shape(z)[0]], label))
    best = int(tf.argmin(pyramid_distance(make(codes), goal)))
    return _descend(tf.Variable(codes[best : best + 1]), make, goal, steps, rate)


def _descend(code: tf.Variable, make: Callable, goal: tf.Tensor, steps: int, rate: float) -> Projection:
    """Better a code [1, d] by Adam and return the best one met."""
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build([code])

    @tf.function(autograph=False)  # it would take one lambda's source for another's
    def step() -> tuple[tf.Tensor, tf.Tensor]:
        now = tf.identity(code)
        with tf.GradientTape() as tape:
            error = pyramid_distance(make(code), goal)[0]
        optimizer.apply([tape.gradient(error, code)], [code])
        return error, now

    met = [step() for _ in range(steps)]
    errors = np.array([float(error) for error, _ in met], np.float32)
    found = met[int(np.argmin(errors))][1]
    return Projection(found.numpy()[0], shown(make(found))[0], errors)


def pyramid_distance(images: tf.Tensor, goal: tf.Tensor) -> tf.Tensor:
    """float32 [n]: mean squared difference, summed over sides s, s/2, ... 4 px."""
    total = 0.0
    while True:
        total += tf.reduce_mean(tf.square(images - goal), [1, 2, 3])
        if images.shape[1] <= 4:
            return total
        images, goal = (tf.nn.avg_pool2d(x, 2, 2, "VALID") for x in (images, goal))
