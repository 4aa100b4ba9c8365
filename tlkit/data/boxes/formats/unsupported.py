"""Label Studio, CreateML, VoTT, Supervisely, Datumaro and others: named for what they are, with the export to choose.

None of them is read. A source that holds one is better told so than that it has no boxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tlkit.data.boxes.formats.annotations import is_hidden
from tlkit.data.boxes.formats.tables import box_columns
from tlkit.errors import DataFault

LOOKED_AT = 5  # files of each suffix
HEAD, MOST = 20_000, 64_000_000  # characters
_SAVE = "Export it as COCO, Pascal VOC or YOLO."


JSONS = (
    (r'"annotations"\s*:\s*\[\s*\{[^}]*"coordinates"', "CreateML's JSON", "Export it as COCO or Pascal VOC."),
    (r'"(data|task)"\s*:.*"(annotations|completions|predictions)"', "Label Studio's own JSON",
     "In Label Studio choose Export, then COCO, Pascal VOC XML or YOLO with images."),
    (r'"rectanglelabels"', "Label Studio's JSON-MIN",
     "In Label Studio choose Export, then COCO, Pascal VOC XML or YOLO with images."),
    (r'"(assets|asset)"\s*:', "VoTT's JSON", "In VoTT choose the export Pascal VOC, or its CSV."),
    (r'"objects"\s*:.*"classTitle"', "Supervisely's JSON", "In Supervisely export to COCO, Pascal VOC or YOLO."),
    (r'"items"\s*:.*"categories"|"categories"\s*:.*"items"', "Datumaro's JSON",
     "Convert it with datum convert -f coco."),
    (r'"frames"\s*:|"labels"\s*:\s*\[\s*\{[^]]*"box2d"', "BDD100K's or Scalabel's JSON",
     "Convert it with scalabel's to_coco."),
    (r'"images"\s*:\s*\[', "COCO's list of images without annotations (as of its test set)",
     "Put the file with annotations there (instances_*.json)."),
)  # fmt: skip


def stranger_in(place: Path) -> tuple[str, str] | None:
    """What lies at a place, as the end of a sentence, and what to do, if it is of a known form that is not read.

    Args:
        place: A folder that no reader knows, or one file.
    """
    for file in _files(place):
        if what := _of(file):
            return f"{file.name} is {what[0]}, which is not read", what[1]
    return None


def refuse_stranger(source: str, place: Path) -> None:
    """Refuse what `stranger_in` finds.

    Raises:
        DataFault: There is such a file; `source` as typed.
    """
    if found := stranger_in(place):
        raise DataFault(f"{source} has no boxes that can be read: {found[0]}.", found[1])


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for pattern in ("*.json", "*/*.json", "*.xml", "*/*.xml", "*.csv", "*/*.csv", "*.tsv", "*.txt", "*/*.txt",
                    "*.record", "*.tfrecord*", "*.ndjson", "*.jsonl", "*.manifest"):  # fmt: skip
        seen = [file for file in sorted(place.glob(pattern)) if not is_hidden(file.relative_to(place))]
        yield from seen[:LOOKED_AT]


def _of(file: Path) -> tuple[str, str] | None:
    suffix = file.suffix.lower()
    if suffix in {".record", ".ndjson", ".jsonl", ".manifest"} or ".tfrecord" in file.name:
        kinds = {
            ".ndjson": "Labelbox's NDJSON",
            ".jsonl": "a JSON-lines file",
            ".manifest": "SageMaker's manifest",
        }
        return kinds.get(suffix, "a TFRecord"), _SAVE
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            head = stream.read(MOST if suffix == ".json" else HEAD)
    except OSError:
        return None
    if suffix == ".json":
        return _json(head)
    if suffix == ".xml":
        return ("dlib's XML", _SAVE) if re.search(r"<dataset\b", head) and "<images" in head else None
    if suffix in {".csv", ".tsv"}:
        return _table(head.splitlines()[0] if head else "")
    return _text(head) if suffix == ".txt" else None


def _json(text: str) -> tuple[str, str] | None:
    if all(f'"{key}"' in text for key in ("images", "annotations", "categories")):
        return None  # COCO's own, whole or broken
    known = JSONS if '"annotations"' not in text else JSONS[:-1]
    head = text[:HEAD]
    return next(((what, remedy) for pattern, what, remedy in known if re.search(pattern, head, re.S)), None)


def _table(header: str) -> tuple[str, str] | None:
    cells = re.split(r"[,;\t]", header.strip())
    columns = {"image", "class", "left", "top"} <= box_columns([cell.strip(' "') for cell in cells]).keys()
    if columns and not header.count(","):
        mark = "semicolons" if ";" in header else "tabs"
        return (
            f"a table separated by {mark}",
            "Save it as CSV with commas between cells and points in numbers (10.5).",
        )
    numbers = sum(bool(re.fullmatch(r"-?\d+(\.\d+)?", cell.strip())) for cell in cells)
    if cells[0].strip() in {"TRAIN", "VALIDATION", "TEST", "UNASSIGNED"}:
        return "Google AutoML's CSV", _SAVE
    if numbers >= 4:
        remedy = "Write a first line with the columns' names, such as image,left,top,right,bottom,class."
        return "a table of boxes without names of its columns", remedy
    return None


def _text(head: str) -> tuple[str, str] | None:
    line = next((line for line in head.splitlines() if line.strip()), "")
    cells = line.split()
    if len(cells) == 15 and not _is_number(cells[0]) and all(map(_is_number, cells[1:])):
        return "KITTI's labels", _SAVE
    if len(cells) in {9, 10} and all(map(_is_number, cells[:8])) and not _is_number(cells[8]):
        return (
            "DOTA's labels",
            "Convert them to YOLO's OBB labels, of which the box around is taken, or to COCO.",
        )
    return None


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text))
