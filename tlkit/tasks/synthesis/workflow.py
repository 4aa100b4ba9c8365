"""The workflow of the recipes that synthesise images: what is imitated, the two networks, the GAN between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tlkit.core.device import precision_policy
from tlkit.core.run import DryRunDone, Run
from tlkit.core.text import count, did_you_mean, some_of
from tlkit.data.images.sources import PARTS, TRAINING
from tlkit.engine.training.estimates import told, untold
from tlkit.errors import DataFault, UsageFault
from tlkit.tasks.classification import workflow as classification

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.synthesis.gan import Gan
    from tlkit.tasks.synthesis.settings import Play

SHOWN = 32  # reals and fakes of the grids


@dataclass(frozen=True)
class Chosen:
    """What is imitated and in which form, as the options say.

    Attributes:
        classes: Names of classes; empty: the only one, or all of them where `conditional`.
        conditional: Whether one generator learns all of them, told apart by a label.
        size: Side of the images, pixels.
        channels: "auto", "1" or "3"; auto is 1 where no image has a colour.
        fit: "resize" or "pad", which keeps the aspect.
    """

    classes: tuple[str, ...]
    conditional: bool
    size: int
    channels: str
    fit: Literal["resize", "pad"]


@dataclass(frozen=True)
class Length:
    """How long a GAN lasts: `steps`, or the steps that go into `minutes`; every `every` steps it is evaluated."""

    steps: int
    minutes: float | None
    every: int


class Subject(NamedTuple):
    """What is imitated.

    Attributes:
        split: Of the whole source.
        class_names: [k] of the imitated classes.
        images: For each part float32 [n, s, s, c] in 0..1.
        labels: For each part int32 [n], indices into `class_names`.
        bits: 8 or 16, of the files.
    """

    split: Split
    class_names: tuple[str, ...]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    bits: int


# --- Ingredients ---


def load_data(run: Run, source: str, chosen: Chosen) -> Subject:
    """Split the source as a classifier would, and read the images of the chosen classes.

    Writes `split.csv` and `trained_on.csv`: the training part, which is all that the GAN will see.

    Raises:
        DataFault, UsageFault: See `load_data`; no such class, several without `--conditional`, or too few images.
    """
    import numpy as np

    from tlkit.data.images.decoding.depth import channels_of, image_bits, read_images
    from tlkit.data.images.synthetic import write_trained_on

    if run.split.more:
        raise UsageFault("--synthetic does not apply here: a GAN learns from real images.", "Leave it out.")
    split = classification.load_data(run, source, least=1)
    names = _class_names(split, chosen)
    wanted = np.isin(split.images.labels, [split.images.class_names.index(name) for name in names])
    indices = {part: [i for i in split.indices(part) if wanted[i]] for part in PARTS}
    _check_enough(source, names, len(indices[TRAINING]))
    files = {part: [split.images.file(i) for i in found] for part, found in indices.items()}
    everything = [file for part in PARTS for file in files[part]]
    channels = channels_of(everything) if chosen.channels == "auto" else int(chosen.channels)
    images = {
        part: read_images(found, chosen.size, channels, fit=chosen.fit) for part, found in files.items()
    }
    labels = {
        part: np.array(
            [names.index(split.images.class_names[split.images.labels[i]]) for i in found], np.int32
        )
        for part, found in indices.items()
    }
    write_trained_on(run.folder.path, split, indices[TRAINING])
    _say_images(run, names, everything, indices, chosen, channels)
    return Subject(split, names, images, labels, image_bits(everything))


def _class_names(split: Split, chosen: Chosen) -> tuple[str, ...]:
    known = split.images.class_names
    for name in chosen.classes:
        if name not in known:
            raise UsageFault(
                f"--class {name} is no class of {split.images.source}.",
                f"{did_you_mean(name, known)} Its classes are {some_of(known)}.".lstrip(),
            )
    names = tuple(name for name in known if name in chosen.classes) if chosen.classes else known
    if len(names) > 1 and not chosen.conditional:
        raise UsageFault(
            f"{split.images.source} has {len(names)} classes to imitate: {some_of(names)}.",
            "Name one with --class, or let one generator learn all of them with --conditional.",
        )
    return names


def _check_enough(source: str, names: Sequence[str], training: int) -> None:
    from tlkit.tasks.synthesis.settings import LEAST_IMAGES

    if training < LEAST_IMAGES:
        raise DataFault(
            f"{source} has {count(training, 'training image')} of {', '.join(names)}; a GAN needs {LEAST_IMAGES}.",
            "Give it more images; a fifth of them is kept for validation and a fifth for the test.",
        )


def _say_images(
    run: Run,
    names: Sequence[str],
    files: Sequence[Path],
    indices: dict[str, list[int]],
    chosen: Chosen,
    channels: int,
) -> None:
    from tlkit.data.images.decoding.opening import open_image

    def size(file: Path) -> tuple[int, int]:
        with open_image(file) as image:
            return image.size

    sizes = sorted({size(file) for file in files})
    each = f"{sizes[0][0]} x {sizes[0][1]}"
    if len(sizes) > 1:
        each = f"{sizes[0][0]} x {sizes[0][1]} to {sizes[-1][0]} x {sizes[-1][1]}"
    how = "resized" if chosen.fit == "resize" else "padded and resized"
    if sizes == [(chosen.size, chosen.size)]:
        how = "kept"
    colour = "grey" if channels == 1 else "RGB"
    parts = ", ".join(f"{part} {len(found)}" for part, found in indices.items())
    run.say(
        f"Imitated: {', '.join(names)}; {parts}. Images of {each} pixels are {how} at {chosen.size} x {chosen.size}, "
        f"{colour}."
    )


# --- Preparation ---


def preview(run: Run, subject: Subject, play: Play, file: Path) -> None:
    """Draw what the augmentation inside the GAN does to training images, and end.

    Raises:
        RunFailed: The device is absent.
    """
    run.start_tensorflow()
    import numpy as np
    import tensorflow as tf

    from tlkit.core.seeds import fold
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.synthesis.diffaugment import augment
    from tlkit.tasks.synthesis.reporting.plots import augmentation_preview

    shown = subject.images[TRAINING][:6]
    probability = play.p if play.ada is None else max(play.p, 0.5)
    draws = [
        augment(
            tf.constant(shown * 2 - 1), fold(tf.constant([run.seed, 0]), i), probability, play.augmentation
        )
        for i in range(8)
    ]
    changed = np.stack([np.clip((draw.numpy() + 1) / 2, 0, 1) for draw in draws], axis=1)
    note = f"{', '.join(play.augmentation) or 'none'}, each with probability {probability:g}"
    save(augmentation_preview(shown, changed, note=note), file)
    raise DryRunDone({"preview": file, "augmentation": list(play.augmentation), "p": probability})


def build_gan(
    run: Run,
    subject: Subject,
    kind: str,
    play: Play,
    width: int | None,
    latent: int | None,
    precision: str = "float32",
) -> Gan:
    """Start TensorFlow and build generator and discriminator.

    Args:
        run: Of the recipe.
        subject: What is imitated.
        kind: "dcgan" or "stylegan".
        play: How the GAN is trained.
        width: Channels of the widest layers; None: the network's own.
        latent: Size of the latent vector; None: the network's own.
        precision: "float32", "bfloat16" or "float16".

    Raises:
        UsageFault: The size does not fit.
        RunFailed: The device is absent, or float16 is wanted without a GPU.
    """
    run.start_tensorflow()
    from tlkit.tasks.synthesis.gan import Gan
    from tlkit.tasks.synthesis.stylegan import BUILDERS

    policy = precision_policy(run.environment, precision, run.say)
    _, size, _, channels = subject.images[TRAINING].shape
    classes = len(subject.class_names) if len(subject.class_names) > 1 else 0
    how: dict[str, Any] = {"classes": classes, "precision": policy, "seed": run.seed}
    how |= {key: value for key, value in (("width", width), ("latent", latent)) if value}
    networks = BUILDERS[kind](size, channels, **how)
    gan = Gan(networks, play, run.seed)
    counts = {"generator": networks.generator.count_params(), "critic": networks.discriminator.count_params()}
    run.record(
        kind="generator",
        classes=list(subject.class_names),
        model={"network": kind, "image_size": size, "channels": channels, "bits": subject.bits}
        | {
            "latent": networks.generator.latent,
            "classes": classes,
            "parameters": counts,
            "play": asdict(play),
        },
    )
    run.say(f"Networks: generator {counts['generator']:,} and discriminator {counts['critic']:,} parameters.")
    return gan


def plan(run: Run, subject: Subject, length: Length) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(subject.class_names),
        "pictures": {part: len(found) for part, found in subject.images.items()},
        "model": run.card()["model"],
        "length": asdict(length),
        "time": _time(length),
    }


def _time(length: Length) -> str:
    if length.minutes:
        return told(
            length.minutes * 60,
            "then --minutes ends the GAN, if its steps are not over; evaluating comes on top.",
        )
    return untold(
        "the first checkpoint shows how many steps a second this machine takes; --minutes ends it in time."
    )
