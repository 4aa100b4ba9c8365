"""Claim: 1,000 composites of threats in bags of about 512 px take at most 60 s on 2 cores.

    python -m tests.benchmarks.composites

Simulated bags and clean simulated crops of the size of real ones, one or two threats a bag, one process. Cutting the
crops out is counted, drawing them and the bags is not. The rival is the budget, 60 ms a composite; a second row takes
the real clean crops where they lie beside the repository.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.benchmarks.measuring import THREATS, Comparison, main, seconds

BUDGET = 60.0  # s for 1,000
COUNT = 1000
BAG = 512  # longer side, pixels
CROP = (600, 900)  # longer side of the simulated crops, pixels
REAL = {"gun": "B0049", "shuriken": "B0050", "blade": "B0051"}


def measure(
    _source: str, pairs: int = 3, *, count: int = COUNT, bags: int = 24, crops: int = 12
) -> list[Comparison]:
    """Seconds a thousand composites, scaled from `count`."""
    from tlkit.data.xray.bags import draw_bag

    backgrounds = [draw_bag(number, 1, BAG).image.astype(np.float32) / 255 for number in range(bags)]
    sets = {"simulated crops": simulated(crops)}
    if THREATS.is_dir():
        sets["real crops"] = real(crops)
    return [
        Comparison(
            f"1,000 composites, {name} / budget",
            "s",
            (BUDGET,) * pairs,
            tuple(took(threats, backgrounds, count) * 1000 / count for _ in range(pairs)),
            1.0,
            note=f"{count} composites of {bags} bags of {BAG} px; the rival is the budget.",
        )
        for name, threats in sets.items()
    ]


def took(threats: dict[str, list[np.ndarray]], backgrounds: list[np.ndarray], count: int) -> float:
    """Seconds for `count` composites, drawn from a generator and let go."""
    from tlkit.tasks.compositing.composites import composite_threats
    from tlkit.tasks.compositing.settings import CompositeSettings

    def run() -> None:
        laid = sum(
            len(one.labels)
            for one in composite_threats(threats, backgrounds, CompositeSettings(empty=0.0), count=count)
        )
        if laid < count / 2:
            raise RuntimeError(f"{laid} threats in {count} composites: most found no place")

    return seconds(run)


def simulated(count: int) -> dict[str, list[np.ndarray]]:
    """Clean crops of the simulator, float32 in [0, 1]."""
    from tlkit.data.xray.crops import render_crop

    return {
        label: [render_crop(label, i, 0, "clean", *CROP).astype(np.float32) / 255 for i in range(count)]
        for label in REAL
    }


def real(count: int) -> dict[str, list[np.ndarray]]:
    """Clean crops of the seed's contest, float32 in [0, 1]."""
    files = {label: sorted((THREATS / label).glob(f"{series}_*")) for label, series in REAL.items()}
    return {
        label: [np.asarray(Image.open(file).convert("L"), np.float32) / 255 for file in chosen[:count]]
        for label, chosen in files.items()
    }


if __name__ == "__main__":
    main(measure, __doc__ or "", pairs=3)
