"""What all benchmarks share: paired values and their ratio, the machine they were taken on, a table or JSON.

A rival and ours run in the same process environment, one after the other, and their order alternates from pair to
pair, so that a machine that slows down or is shared slows both. A ratio is taken within a pair; what is shown
is the median of the ratios with the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlkit.data.images.sources import Images

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
THREATS = SHARED / "data" / "threats"
MOBILENET = SHARED / "weights" / "mobilenet_1_0_224_tf_no_top.h5"
PHOTOS = SHARED / "weights" / "photos"
GROUP = r"[ULA]?(B\d+_\d+)"  # of the real crops: mirrored copies stay with their image


@dataclass(frozen=True)
class Comparison:
    """One claim, measured.

    Attributes:
        claim: What is compared.
        unit: Of the values: "s", "images/s" or "MiB".
        rival: [pairs] its values.
        ours: [pairs] our values.
        target: What the ratio is to reach; None shows it only.
        least: Whether the target is a least ratio; else it is a greatest.
        inverse: Whether the ratio is rival / ours; else it is ours / rival.
        note: What else must be known, such as both accuracies.
    """

    claim: str
    unit: str
    rival: tuple[float, ...]
    ours: tuple[float, ...]
    target: float | None = None
    least: bool = False
    inverse: bool = False
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """[pairs] ratio within each pair."""
        pairs = zip(self.rival, self.ours, strict=True)
        return [r / o if self.inverse else o / r for r, o in pairs]

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None without one."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.least else self.ratio <= self.target

    def cells(self) -> list[str]:
        """A row of the table."""
        wanted = "" if self.target is None else f"{'>=' if self.least else '<='} {self.target:g}"
        return [
            self.claim,
            f"{statistics.median(self.rival):.4g} {self.unit}",
            f"{statistics.median(self.ours):.4g} {self.unit}",
            f"{self.ratio:.3g} ({min(self.ratios):.3g}..{max(self.ratios):.3g})",
            "rival / ours" if self.inverse else "ours / rival",
            wanted,
            {None: "", True: "yes", False: "NO"}[self.met],
            str(len(self.ours)),
        ]


def in_turn(ways: Mapping[str, Callable[[], float]], pairs: int) -> dict[str, tuple[float, ...]]:
    """Call every way once a pair, in an order that starts one further each time; name -> [pairs] values."""
    names = list(ways)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(pairs):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(ways[name]())
    return {name: tuple(values) for name, values in found.items()}


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def machine() -> str:
    """One line: cores, processor, load, Python and TensorFlow."""
    from importlib.metadata import version

    from tlkit.core.device import processor

    return (
        f"{os.cpu_count()} cores, {processor()}, load {os.getloadavg()[0]:.1f} at the end; Python "
        f"{platform.python_version()}, TensorFlow {version('tensorflow')}, Keras {version('keras')}"
    )


def default_source() -> str:
    """The real crops where they lie beside the repository, else the built-in set."""
    return str(THREATS) if THREATS.is_dir() else "xray:crops"


def link(images: Images, chosen: Sequence[int], folder: Path) -> Path:
    """Class folders of links to some of the images, for what reads only folders; returns `folder`."""
    for index in chosen:
        name = images.class_names[images.labels[index]]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / Path(images.paths[index]).name).symlink_to(images.file(index).resolve())
    return folder


def default_weights() -> str:
    """The published MobileNet where it lies beside the repository, else random weights (same speed)."""
    return str(MOBILENET) if MOBILENET.is_file() else "none"


def show(comparisons: Sequence[Comparison], *, as_json: bool) -> None:
    """Print a table and the machine, or the same as JSON."""
    if as_json:
        rows = [{**asdict(c), "ratio": c.ratio, "ratios": c.ratios, "met": c.met} for c in comparisons]
        print(json.dumps({"schema_version": 1, "machine": machine(), "comparisons": rows}, indent=1))
        return
    header = ["claim", "rival", "ours", "ratio (min..max)", "ratio is", "target", "met", "pairs"]
    rows = [header, *(c.cells() for c in comparisons)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for note in dict.fromkeys(c.note for c in comparisons if c.note):
        print(f"  {note}")
    print(f"  Medians; {machine()}")


def main(measure: Callable[[str, int], list[Comparison]], text: str, pairs: int = 5) -> None:
    """The command line of a benchmark: `measure(source, pairs)` makes its rows."""
    from tlkit.data.images.sources import read_images

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=default_source(), help="SOURCE of images (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=pairs, help="repeats (default: %(default)s)")
    parser.add_argument("--images", type=int, help="only about so many of them, evenly chosen")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = chosen.data
        if chosen.images:
            images = read_images(source)
            step = max(1, round(len(images) / chosen.images))
            source = str(link(images, range(0, len(images), step), Path(folder)))
        show(measure(source, chosen.pairs), as_json=chosen.json)
