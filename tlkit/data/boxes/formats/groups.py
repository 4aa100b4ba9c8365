"""`groups.csv` beside annotations: what the formats have no room for, the groups, parts and facts of images."""

from __future__ import annotations

from pathlib import Path

from tlkit.data.boxes.formats.annotations import Annotated, Annotations
from tlkit.data.boxes.formats.declared_parts import part_said
from tlkit.data.boxes.formats.tables import table
from tlkit.errors import DataFault

GROUPS = "groups.csv"
KNOWN = {"image", "path", "group", "split", "part"}


def read_groups(place: Path, annotations: Annotations) -> None:
    """Give images the group, split and further columns of a groups.csv (image,group[,split][,...]), if there is one.

    It lies beside the images, at the top of the source, or beside the source's file. Images are named by their
    path, or by their file's name where that is unique. Images that it does not list keep what they have.

    Args:
        place: The source's folder or file.
        annotations: Changed in place.

    Raises:
        DataFault: It has no column image, or a split that is unknown.
    """
    top = place if place.is_dir() else place.parent
    file = next((folder / GROUPS for folder in (annotations.root, top) if (folder / GROUPS).is_file()), None)
    if file is None:
        return
    by_path = {image.path: image for image in annotations.images}
    by_name: dict[str, list[Annotated]] = {}
    for image in annotations.images:
        by_name.setdefault(image.path.rpartition("/")[2], []).append(image)
    for where, row in table(file):
        if "image" not in row and "path" not in row:
            raise DataFault(f"{file} has no column image.", "The first line must be image,group.")
        key = row.get("image") or row.get("path") or ""
        alike = by_name.get(key, [])
        meant = by_path.get(key) or (alike[0] if len(alike) == 1 else None)
        if meant is None:
            continue
        meant.group = row.get("group") or meant.group
        meant.part = part_said(where, row.get("split") or row.get("part")) or meant.part
        meant.columns.update({name: value for name, value in row.items() if name not in KNOWN})
