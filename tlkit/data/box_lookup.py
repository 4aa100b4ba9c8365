"""Find the image that an annotation names: at its path, beside the annotation, or by a name that only one image has."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tlkit.data.box_records import Annotations, pictures_below

NEAR = ("", "images/", "Images/", "data/", "imgs/")


class Lookup:
    """The images below a folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = list(pictures_below(folder))
        self._known = set(self.paths)
        self._named: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        for path in self.paths:
            self._named.setdefault(PurePosixPath(path).name, []).append(path)
            self._stems.setdefault(path.rpartition(".")[0], []).append(path)

    def find(self, found: Annotations, where: str, said: str, beside: str = "") -> str | None:
        """The path of an image, or None and a fault.

        Args:
            found: Gets the fault.
            where: File and element that name it.
            said: The name as written; either slash separates. Absolute names are looked up by their last piece.
            beside: Folder of the annotation, POSIX, relative to the source; "" for its top.
        """
        plain = said.strip().replace("\\", "/").removeprefix("./")
        starts = (f"{beside}/" if beside else "", *NEAR)
        exact = next((start + plain for start in starts if start + plain in self._known), None)
        alike = self._named.get(plain.rsplit("/", 1)[-1], [])
        if exact or len(alike) == 1:
            return exact or alike[0]
        what = (
            f"{said} could be {alike[0]} or {alike[1]}" if alike else f"{said or 'its image'} does not exist"
        )
        found.missing_image(where, what)
        return None

    def of_stem(self, stem: str) -> str | None:
        """The only image of a path without suffix, or None."""
        alike = self._stems.get(stem, [])
        return alike[0] if len(alike) == 1 else None
