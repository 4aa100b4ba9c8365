"""Do GANs collapse? Many starts of one GAN, each with a seed of its own that splits the images and draws the weights.

    python -m tests.tasks.synthesis.starts SOURCE --class shuriken [--network dcgan] [--group EXPRESSION] [--starts 20] [--steps 2000]

One line a start: at which steps it was begun again, and how much samples differ at the end; then a row for the recipe's
page. It ends with 1 if a start ended collapsed: its samples were one image (`collapse.constant_reason`). The alarms by
features and by the discriminator, which the recipe has beside that one, are not asked here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIZE = 32


class Start(NamedTuple):
    """What one start came to.

    Attributes:
        seed: Of everything.
        begun_again: At which steps; -1 where it was given up.
        spread: Pixels' standard deviation over samples, over that of real training images.
        collapsed: Whether it was given up.
    """

    seed: int
    begun_again: tuple[int, ...]
    spread: float
    collapsed: bool


def play_start(
    source: str, name: str, network: str, steps: int, seed: int, *, group: str | None = None, every: int = 500
) -> Start:
    """Play one GAN on the training part of a class, as the recipe does."""
    from tlkit.data.images.decoding.depth import read_images
    from tlkit.data.images.load import load_split
    from tlkit.data.images.sources import TRAINING
    from tlkit.errors import RunFailed
    from tlkit.tasks.synthesis.fit import fit_gan
    from tlkit.tasks.synthesis.gan import Gan
    from tlkit.tasks.synthesis.latents import random_latents, sample
    from tlkit.tasks.synthesis.settings import PLAYS
    from tlkit.tasks.synthesis.stylegan import BUILDERS

    split = load_split(source, seed=seed, group=group, least=1).split
    images = split.images
    label = images.class_names.index(name)
    files = [images.file(i) for i in split.indices(TRAINING) if images.labels[i] == label]
    images = read_images(files, SIZE, 1)
    gan = Gan(BUILDERS[network](SIZE, 1, seed=seed), PLAYS[network], seed)
    with tempfile.TemporaryDirectory() as folder:
        try:
            begun_again = fit_gan(
                gan, images, steps=steps, folder=Path(folder), every=min(every, steps)
            ).begun_again
            collapsed = False
        except RunFailed as fault:
            if "has collapsed" not in fault.problem:
                raise
            begun_again, collapsed = (-1,), True
    samples = sample(gan, random_latents(gan, 200, seed))
    spread = np.std(samples, axis=0).mean() / np.std(images, axis=0).mean()
    return Start(seed, begun_again, float(spread), collapsed)


def row(network: str, group: str | None, steps: int, starts: list[Start]) -> str:
    """A row of the table: network, group, starts, steps, begun again, collapsed at the end, spread."""
    spreads = [start.spread for start in starts]
    again = sum(bool(start.begun_again) for start in starts)
    lost = sum(start.collapsed for start in starts)
    how = "with `--group`" if group else "without"
    return (
        f"| {network} | {how} | {len(starts)} | {steps:,} | {again} | {lost} | "
        f"{np.median(spreads):.2f} ({min(spreads):.2f} to {max(spreads):.2f}) |"
    )


def main() -> int:
    """Play and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("--class", dest="name", required=True)
    parser.add_argument("--network", choices=["dcgan", "stylegan"], default="dcgan")
    parser.add_argument("--group")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    given = parser.parse_args()
    starts = []
    for seed in range(given.starts):
        start = play_start(given.source, given.name, given.network, given.steps, seed, group=given.group)
        starts.append(start)
        sys.stdout.write(f"{start}\n")
        sys.stdout.flush()
    sys.stdout.write(row(given.network, given.group, given.steps, starts) + "\n")
    return int(any(start.collapsed for start in starts))


if __name__ == "__main__":
    raise SystemExit(main())
