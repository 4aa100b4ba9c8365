"""Composites of threats and bags, part by part: their images, their boxes, and an account of what each is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run, check_room
from tlkit.data.boxes.dataset import Boxes
from tlkit.data.boxes.formats.writers import annotate
from tlkit.data.boxes.lazy_images import Backgrounds, with_names
from tlkit.data.boxes.splits import BoxSplit
from tlkit.data.boxes.synthetic import COMPOSITES
from tlkit.data.images.decoding.depth import write_image
from tlkit.data.images.sources import PARTS, TRAINING
from tlkit.tasks.compositing.colour import laid_into, palette
from tlkit.tasks.compositing.composites import POSE, Superimposed, composite_threats
from tlkit.tasks.compositing.settings import CompositeSettings
from tlkit.tasks.compositing.threats import Threats

COLUMNS = ("file", "part", "bag", "i0", "threat", "class", "left", "top", "right", "bottom", *POSE)


class Maker:
    """Makes the composites of one part after the other and keeps account of them.

    Args:
        run: Who wants them.
        threats: What is pasted in.
        bags: What it is pasted into.
        how: How they are made.
        home: The folder that `composites/` and the tables come into; None: the run's.
        seed: Of the composites; None: the run's.
    """

    def __init__(
        self,
        run: Run,
        threats: Threats,
        bags: BoxSplit,
        how: CompositeSettings,
        home: Path | None = None,
        seed: int | None = None,
    ) -> None:
        self.run, self.threats, self.split, self.how = run, threats, bags, how
        wanted = list(next(iter(threats.crops.values())))
        self.boxes, self.spelling = with_names(bags.images, wanted)
        self.home = home or run.folder.path
        self.seed = run.seed if seed is None else seed
        self.folder = self.home / COMPOSITES
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        self.rows: list[tuple[Any, ...]] = []  # of composites.csv
        self.entries: list[dict[str, Any]] = []  # what each image of boxes.csv is
        self.used: dict[tuple[str, int], str] = {}  # ("threat" or "bag", number in its split) -> part
        self.colours: dict[str, list[float]] = {}
        self.levels: list[float] = []

    def make(self, part: str) -> None:
        """Compose and write the images of a part."""
        indices, number = self._bags(part), self._numbers()[part]
        backgrounds = Backgrounds(self.boxes.take(indices))
        check_room(
            self.run, number, sum(3 * w * h for w, h in backgrounds.boxes.sizes) * number // len(indices)
        )
        colours = palette(backgrounds) if self.how.tint == "bags" else None
        if colours is not None:
            self.colours[part] = [round(float(value), 3) for value in colours]
        stream = composite_threats(
            self.threats.crops[part],
            backgrounds,
            self.how,
            count=number,
            seed=self.seed + PARTS.index(part),
            objects=backgrounds.boxes.xyxy,
        )
        with self.run.progress(f"composites for {part}", number) as step:
            for done, one in enumerate(stream, 1):
                self._write(one, part, indices[one.bag], backgrounds, colours)
                step(done)

    def _numbers(self) -> dict[str, int]:
        """Composites of each part: by its bags, the numbers adding up to what is asked."""
        bags = [len(self._bags(part)) for part in self.how.parts]
        if self.how.count is None:
            return {part: self.how.copies * number for part, number in zip(self.how.parts, bags, strict=True)}
        ends = [round(self.how.count * sum(bags[: i + 1]) / sum(bags)) for i in range(len(bags))]
        return {part: ends[i] - (ends[i - 1] if i else 0) for i, part in enumerate(self.how.parts)}

    def _bags(self, part: str) -> list[int]:
        """Numbers of the bags of a part that are used."""
        every = [int(i) for i in self.split.indices(part)]
        return [i for i in every if not (self.how.only_empty_bags and len(self.boxes.xyxy[i]))]

    def _write(
        self, one: Superimposed, part: str, bag: int, backgrounds: Backgrounds, colours: np.ndarray | None
    ) -> None:
        """Write one image and note what it is made of."""
        path = f"images/{len(self.entries) + 1:05}.png"
        image = laid_into(backgrounds.levels(one.bag), one.through, colours)
        write_image(self.folder / path, image, backgrounds.bits(one.bag))
        self.entries.append(
            {"path": path, "part": part, "bag": bag, "boxes": one.boxes, "threats": one.threats}
        )
        self.levels.append(one.i0)
        self.used["bag", bag] = part
        self.rows += self._rows(one, part, bag, path)

    def _rows(self, one: Superimposed, part: str, bag: int, path: str) -> Iterator[tuple[Any, ...]]:
        """What stands in composites.csv: a line a threat, and one for an image without any."""
        start = (path, part, self.boxes.paths[bag], f"{one.i0:.4g}")
        if not one.threats:
            yield (*start, *[""] * (len(COLUMNS) - len(start)))
        for pose, box in zip(one.threats, one.boxes.astype(int).tolist(), strict=True):
            number = self.threats.crops[part][pose.label][pose.crop].number
            self.used["threat", number] = part
            name = self.threats.split.images.paths[number]
            label = self.spelling[pose.label]
            yield (*start, name, label, *box, *pose.figures, int(pose.flip), f"{pose.occlusion:.4g}")

    def finish(self) -> Path:
        """Write the tables; returns the folder of the composites."""
        annotate(self._described(), self.folder, "csv")
        write_csv(self.home / "composites.csv", [COLUMNS, *self.rows])
        self._write_trained_on()
        return self.folder

    def _described(self) -> Boxes:
        """The composites: what each bag had, then its threats."""
        bags = self.boxes.take([entry["bag"] for entry in self.entries])
        new = [entry["boxes"] for entry in self.entries]
        names = self.boxes.class_names
        labels = [
            [names.index(self.spelling[pose.label]) for pose in entry["threats"]] for entry in self.entries
        ]
        known = bags.box_columns.get("occlusion", tuple(("",) * len(some) for some in bags.xyxy))
        hidden = tuple(
            (*own, *(f"{pose.occlusion:.4f}" for pose in entry["threats"]))
            for own, entry in zip(known, self.entries, strict=True)
        )
        # all composites of a bag stay together: by its declared group, else by the bag
        groups = [self.split.groups[entry["bag"]] for entry in self.entries]
        return replace(
            bags,
            root=self.folder,
            paths=tuple(entry["path"] for entry in self.entries),
            xyxy=tuple(np.concatenate([own, some]) for own, some in zip(bags.xyxy, new, strict=True)),
            labels=tuple(
                np.concatenate([own, np.array(some, np.int32)])
                for own, some in zip(bags.labels, labels, strict=True)
            ),
            difficult=_with_none(bags.difficult, new),
            crowd=_with_none(bags.crowd, new),
            groups=tuple(
                path if group.startswith("#") else group
                for path, group in zip(bags.paths, groups, strict=True)
            ),
            parts=tuple(entry["part"] for entry in self.entries),
            columns={"bag": bags.paths},
            box_columns={"occlusion": hidden},
        )

    def _write_trained_on(self) -> None:
        """Path, sha256, label, group, part and kind of every image that is in a composite."""
        splits = {"threat": self.threats.split, "bag": self.split}
        rows = [
            (row["path"], row["sha256"], row["label"], row["group"], TRAINING, "learned from")
            for row in self.threats.learned
        ]
        for (kind, i), part in sorted(self.used.items()):
            split = splits[kind]
            path, label = split.images.paths[i], split.stratum(i)
            rows.append((path, split.sha256[i], label, split.groups[i], part, kind))
        header = ("path", "sha256", "label", "group", "part", "kind")
        write_csv(self.home / "trained_on.csv", [header, *rows])

    def facts(self) -> dict[str, Any]:
        """For the card: parts, threats laid, crops and bags used, I0, colours."""
        kinds = Counter(kind for kind, _ in self.used)
        return {
            "parts": dict(Counter(entry["part"] for entry in self.entries)),
            "laid": sum(len(entry["threats"]) for entry in self.entries),
            "crops_used": kinds["threat"],
            "bags_used": kinds["bag"],
            "i0": [min(self.levels), max(self.levels)],
            "colours": self.colours,
        }


def _with_none(flags: Sequence[np.ndarray], new: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The flags of what each bag had, then that none of its threats has it."""
    return tuple(
        np.concatenate([own, np.zeros(len(some), bool)]) for own, some in zip(flags, new, strict=True)
    )
