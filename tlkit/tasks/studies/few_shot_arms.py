"""The arms of `does-it-help`: what each puts beside the few real images of a class."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.data.images.batches import pixel_batches
from tlkit.data.images.decoding.depth import channels_of, fitted, read_image, read_images
from tlkit.data.images.sources import TRAINING
from tlkit.errors import DataFault
from tlkit.tasks.compositing.clutter import InClutter, composite_crops
from tlkit.tasks.compositing.settings import ClutterSettings
from tlkit.tasks.features.extract import features_of_images
from tlkit.tasks.studies.few_shot_data import GANS, WITH_CLUTTER, FewShotData
from tlkit.tasks.studies.question import NOTHING
from tlkit.tasks.studies.study import computed_once
from tlkit.tasks.synthesis.fit import GanWatchers, fit_gan
from tlkit.tasks.synthesis.gan import Gan
from tlkit.tasks.synthesis.latents import random_latents, sample
from tlkit.tasks.synthesis.settings import PLAYS
from tlkit.tasks.synthesis.stylegan import BUILDERS

LOOK = 500  # steps of a GAN from one look, whether its generator has collapsed, to the next
COPIES = 4  # composites of each real image; of each fake there is one


class Added(NamedTuple):
    """What an arm adds to training.

    Attributes:
        features: float32 [m, d].
        shows: Whether each shows the class, bool [m].
    """

    features: np.ndarray
    shows: np.ndarray


Arm = Callable[[FewShotData, np.ndarray, int], Added]  # data, indices of the chosen images, repeat


def _flips(data: FewShotData, chosen: np.ndarray, _repeat: int) -> Added:
    """The chosen images mirrored left-right, up-down, and both."""
    files = [str(data.split.images.file(i)) for i in chosen]
    rows = []
    for batch in pixel_batches(files, data.featurizer.image_size):
        pixels = batch.numpy()
        turned = (pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1])
        rows += [data.featurizer(np.ascontiguousarray(some)) for some in turned]
    return _shown(np.concatenate(rows))


# --- GANs ---


def _gan(kind: str, data: FewShotData, chosen: np.ndarray, repeat: int) -> Added:
    """Fakes of a GAN that saw only the chosen images."""
    return _shown(features_of_images(data.featurizer, _fakes(data, kind, chosen, repeat)))


def _fakes(data: FewShotData, kind: str, chosen: np.ndarray, repeat: int) -> np.ndarray:
    """float32 [n, s, s, c]: what the average generator makes after the GAN; played once, then read."""
    name = f"{len(chosen)}-{kind}-{repeat}-fakes"
    return computed_once(data.run, name, lambda: _play(data, kind, chosen, repeat))


def _play(data: FewShotData, kind: str, chosen: np.ndarray, repeat: int) -> np.ndarray:
    run, question, seed = data.run, data.question, data.run.seed * 1000 + repeat
    files = [data.split.images.file(i) for i in chosen]
    channels = channels_of(files)
    images = read_images(files, question.size, channels)
    gan = Gan(BUILDERS[kind](question.size, channels, seed=seed), PLAYS[kind], seed)
    with tempfile.TemporaryDirectory() as folder, run.progress(kind, question.steps) as step:
        watchers = GanWatchers(step=lambda done, _total, _logs: step(done), note=run.say)
        fit_gan(
            gan,
            images,
            None,
            steps=question.steps,
            folder=Path(folder),
            every=min(LOOK, question.steps),
            watchers=watchers,
        )
    return sample(gan, random_latents(gan, question.samples, seed))


# --- Clutter ---


def _composites(data: FewShotData, chosen: np.ndarray, repeat: int) -> Added:
    """The chosen images set into clutter, and the surroundings that all composites share."""

    def compute() -> np.ndarray:
        crops = [read_image(data.split.images.file(i), 1)[..., 0] for i in chosen]
        return _in_clutter(data, crops, COPIES, repeat).features

    features = computed_once(data.run, f"{len(chosen)}-composites-{repeat}-features", compute)
    return _joined([_shown(features), surroundings(data)])


def _gan_in_clutter(kind: str, data: FewShotData, chosen: np.ndarray, repeat: int) -> Added:
    """What `composites` adds, and the fakes set into clutter too."""
    fakes = [fake.mean(axis=-1) for fake in _fakes(data, kind, chosen, repeat)]
    return _joined([_composites(data, chosen, repeat), _in_clutter(data, fakes, 1, repeat, kind)])


def _joined(parts: Sequence[Added]) -> Added:
    return Added(*(np.concatenate(some) for some in zip(*parts, strict=True)))


def _in_clutter(
    data: FewShotData, crops: Sequence[np.ndarray], copies: int, repeat: int, kind: str = ""
) -> Added:
    """Crops float32 [h, w] of the class, each `copies` times in clutter."""
    seed = data.run.seed * 1000 + repeat + (500 if kind else 0)
    made = composite_crops(
        {data.question.name: crops},
        _read_class(data, data.question.negative),
        ClutterSettings(copies, negatives=0, size=data.featurizer.image_size),
        seed,
    )
    return _shown(_features(data, made))


def _shown(features: np.ndarray) -> Added:
    """Features of images that all show the class."""
    return Added(features, np.ones(len(features), bool))


def surroundings(data: FewShotData) -> Added:
    """Clutter alone and the other threats in clutter: the same for every number and repeat, so made once.

    Raises:
        DataFault: There is no class of harmless things.
    """
    question, names = data.question, data.split.images.class_names

    def compute() -> np.ndarray:
        others = _read_class(data, question.negative)
        if not others:
            raise DataFault(
                f"Training has no images of {question.negative} to set {question.name} into.",
                "Name the class of harmless things with --negative, or leave the arm composites out.",
            )
        threats = {
            name: _read_class(data, name) for name in names if name not in (question.name, question.negative)
        }
        how = ClutterSettings(copies=1, size=data.featurizer.image_size)
        return _features(data, composite_crops(threats, others, how, data.run.seed))

    features = computed_once(data.run, "surroundings", compute)
    return Added(features, np.zeros(len(features), bool))


def _read_class(data: FewShotData, name: str) -> list[np.ndarray]:
    """The training part's images of a class, float32 [h, w] each."""
    images = data.split.images
    chosen = [i for i in data.split.indices(TRAINING) if images.class_names[images.labels[i]] == name]
    return [read_image(images.file(i), 1)[..., 0] for i in chosen]


def _features(data: FewShotData, made: Sequence[InClutter]) -> np.ndarray:
    size = data.featurizer.image_size
    if not made:
        return data.features[:0]
    stacked = np.stack([fitted(one.image[..., None], size, "resize") for one in made])
    return features_of_images(data.featurizer, stacked)


ARMS: dict[str, Arm] = {
    NOTHING: lambda data, _chosen, _repeat: Added(data.features[:0], np.zeros(0, bool)),
    "flips": _flips,
    **{kind: partial(_gan, kind) for kind in GANS},
    "composites": _composites,
    **{kind + WITH_CLUTTER: partial(_gan_in_clutter, kind) for kind in GANS},
}
