"""What a check can find in a data set: one table of kinds, each with its severity, its title and what to do.

An *error* is what training refuses, or what makes its results wrong. A *warning* is worth a look and changes
no exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tlkit.core.text import listed

ERROR, WARNING = "error", "warning"


class Kind(NamedTuple):
    """A kind of fault: how grave it is, what it is in a few words, and what to do."""

    severity: str
    title: str
    remedy: str


_COPY_AGAIN = "Get the file again from where it came, or remove it (recipes leave it out with --skip-bad)."
_ANNOTATED_AGAIN = "Get the file again from where it came, or remove it and its annotation."
_SAVE_AGAIN = "Save it again as 8-bit RGB or grey PNG or JPEG."
_RENAME = "Rename it: letters a-z, digits, - and _ are the same everywhere."
_BOX = "Mend it, or let recipes leave its image out: --faults clip."
_CLIP = (
    "Mend it, or let recipes clip it (or, where most of it lies outside, leave its image out): --faults clip."
)
_MASK = (
    "Mend it, or let recipes leave it out (and its image, where nothing else gives the box): --faults clip."
)
_MASK_IMAGE = "Mend it, or let recipes leave its image out: --faults clip."
_TWICE = "Keep one, or let recipes do so: --faults clip; an image that is described twice is then left out."
_TOGETHER = "Keep one, or keep them together with --group."

KINDS = {
    # --- files that do not open ---
    "unreadable": Kind(ERROR, "may not be read", "Give read permission (chmod u+r), or remove it."),
    "not-a-file": Kind(ERROR, "is no ordinary file", "Remove it, or put an image in its place."),
    "missing-file": Kind(ERROR, "is listed and absent", "Correct the path or delete the line."),
    "zero-byte": Kind(ERROR, "is empty (0 bytes)", _COPY_AGAIN),
    "truncated": Kind(ERROR, "is cut short", _COPY_AGAIN),
    "undecodable": Kind(ERROR, "is no image, or a damaged one", _COPY_AGAIN),
    "decompression-bomb": Kind(
        ERROR, "has more pixels than are read", "Save it smaller, remove it, or read it: --max-pixels N."
    ),
    "unsupported-values": Kind(ERROR, "has values that are not 8 or 16 bit integers", _SAVE_AGAIN),
    "wrong-extension": Kind(WARNING, "is of another format than its name says", "Rename it to its format."),
    # --- files that open and may surprise ---
    "cmyk": Kind(WARNING, "has printing colours (CMYK)", "Save it as RGB; colours are converted roughly."),
    "sixteen-bit": Kind(
        WARNING,
        "has more than 8 bits a value",
        "Nothing, if meant: classifiers read (v + 128) // 257, GANs all 16.",
    ),
    "narrow-range": Kind(
        WARNING, "uses few of its 16 bits", "Multiply its values up to 65535, or save it with 8 bits."
    ),
    "palette": Kind(WARNING, "has a palette", "Nothing, if it shows right; else save it as RGB or grey."),
    "alpha": Kind(WARNING, "is transparent in places", "Lay it on a background: transparency is dropped."),
    "animated": Kind(WARNING, "has several images", "Only the first is used: save the others as files."),
    "exif-turned": Kind(
        WARNING, "is turned by its EXIF entry", "Save it upright; boxes may have been drawn on either form."
    ),
    "extreme-aspect": Kind(WARNING, "is very long or very wide", "Cut it: it is squeezed to a square."),
    "extreme-size": Kind(WARNING, "is very small or very large", "Look at it; scale or cut it."),
    "constant": Kind(WARNING, "shows one even tone", "Look at it, and remove it if it shows nothing."),
    "two-tone": Kind(WARNING, "shows two tones only", "Look at it: a mask is left out with --exclude."),
    # --- names and places ---
    "symlink-loop": Kind(ERROR, "links to a folder that holds it", "Remove the link."),
    "broken-link": Kind(ERROR, "links to nothing", "Remove the link or restore what it points at."),
    "ignored-link": Kind(WARNING, "is a linked folder that is not followed", "Put its files in its place."),
    "ignored-file": Kind(WARNING, "is not used", "Move it away, or give it the suffix of its format."),
    "run-folder": Kind(
        WARNING, "holds runs of tlkit and is no class", "Nothing; or keep runs elsewhere: --runs."
    ),
    "undecodable-name": Kind(ERROR, "has a name that is not UTF-8", _RENAME),
    "unicode-name": Kind(WARNING, "has a name beyond ASCII", _RENAME),
    "blank-name": Kind(WARNING, "has blanks in its name", _RENAME),
    "windows-name": Kind(WARNING, "has a name that Windows refuses", _RENAME),
    "name-collision": Kind(
        WARNING, "has the same name but for case", "Rename one: some disks keep only one."
    ),
    "label-spelling": Kind(
        ERROR, "are labels that differ in case or blanks only", "Make them one class, or name them apart."
    ),
    "twin-names": Kind(
        WARNING, "have the names of others but for an ending", "Leave them out if they are masks: --exclude."
    ),
    # --- a source's layout ---
    "no-classes": Kind(ERROR, "has no class folders", "Put each class in its own folder (photos/gun/1.png)."),
    "mixed-layout": Kind(
        ERROR, "mixes split and class folders", "Keep one: train/, validation/, test/, or class folders."
    ),
    "layout": Kind(WARNING, "is not laid out plainly", "Nothing, if that is meant."),
    "undeclared-part": Kind(
        WARNING,
        "is a part that is not declared",
        "Nothing, if meant: recipes take it from training, by group.",
    ),
    "csv-row": Kind(ERROR, "is a line that cannot be used", "Correct the line."),
    "listed-twice": Kind(ERROR, "is listed more than once", "Keep one of its lines."),
    # --- boxes, as training refuses them ---
    "annotations": Kind(ERROR, "has annotations that cannot be read", "Mend them."),
    "missing-image": Kind(ERROR, "is annotated and absent", "Restore the image or delete its annotation."),
    "unlabelled-image": Kind(
        ERROR, "has no annotation", "Annotate it, or say what it is: --unlabelled negative or skip."
    ),
    "unreadable-image": Kind(ERROR, "is annotated and does not open", _ANNOTATED_AGAIN),
    "image-size": Kind(ERROR, "is not of the size that its annotation says", _BOX),
    "unknown-class": Kind(
        ERROR,
        "has a class beyond the names",
        "Correct the class, add its name, or let recipes leave its image out: --faults clip.",
    ),
    "class-names": Kind(
        ERROR, "are spellings of one class", "Spell a class in one way, or say --faults clip."
    ),
    "no-number": Kind(ERROR, "is a box of something else than numbers", _BOX),
    "zero-size": Kind(ERROR, "is a box without width or height", _BOX),
    "inverted": Kind(ERROR, "is a box that ends before it begins", _BOX),
    "out-of-image": Kind(ERROR, "is a box that leaves its image", _CLIP),
    "normalised": Kind(ERROR, "is a box in shares of the sides, not pixels", _BOX),
    "duplicate": Kind(ERROR, "is a box or an image that stands there twice", _TWICE),
    "image-id": Kind(
        ERROR, "is an image without an id of its own", "Give every image its own id, and its boxes that."
    ),
    # --- masks ---
    "mask-outline": Kind(ERROR, "is no mask that can be drawn", _MASK),
    "mask-length": Kind(ERROR, "is a run-length mask of another length than its size", _MASK),
    "mask-size": Kind(
        ERROR,
        "is a mask of another size than its image",
        "Save it in the size of its image, without blending values, or let recipes do without it: --faults clip.",
    ),
    "mask-outside": Kind(
        ERROR,
        "is a mask that leaves its image",
        "Mend it, or let recipes cut it off at the edge: --faults clip.",
    ),
    "mask-empty": Kind(ERROR, "is a mask of no pixel", _MASK),
    "mask-pixel": Kind(
        ERROR,
        "is a mask of one pixel",
        "Remove it if it is a slip, or let recipes leave it out: --faults clip.",
    ),
    "mask-box": Kind(ERROR, "is a box that does not fit its mask", _MASK_IMAGE),
    "mask-values": Kind(
        ERROR,
        "is a mask image whose values are not objects",
        "Give every object a value of its own from 1 (in 16 bits if there are more than 254), or an image of its own "
        "in masks/STEM/; or let recipes leave its image out: --faults clip.",
    ),
    "mask-overlap": Kind(
        WARNING,
        "have masks that share pixels",
        "Nothing, if one lies over the other: mask images of one value an object cannot say it, COCO can.",
    ),
    "mask-crowd": Kind(
        WARNING,
        "have masks of crowds",
        "Nothing: a crowd is neither learned, nor counted when found or missed.",
    ),
    "mask-missing": Kind(
        WARNING,
        "have boxes without a mask, and others have one",
        "Draw the missing masks, or train on boxes.",
    ),
    "turned-boxes": Kind(
        WARNING, "has boxes of the image as it is stored", "Nothing: they are turned as EXIF turns the image."
    ),
    "scaled-boxes": Kind(
        WARNING,
        "has boxes of the image in another size",
        "Nothing, if the image was only resized: they are scaled.",
    ),
    "either-form": Kind(
        WARNING,
        "is turned by EXIF and its annotation does not say of which form it is",
        "Look whether its boxes fit; if not, save it upright and draw them anew.",
    ),
    "tiny-boxes": Kind(WARNING, "has boxes too small to be learned", "Train with larger images."),
    # --- classes ---
    "one-class": Kind(ERROR, "has too few classes", "Add a folder with images of something else."),
    "empty-class": Kind(ERROR, "has no images", "Put images in, or remove the class."),
    "tiny-class": Kind(WARNING, "has few images", "Add images; its figures will be uncertain."),
    "imbalance": Kind(
        WARNING, "has many more than another", "Evaluate by balanced accuracy; recipes have --balance."
    ),
    "missing-part": Kind(ERROR, "is a part without images", "Add a train/ folder or split=train rows."),
    "missing-in-part": Kind(WARNING, "is absent from a part", "Move some of its images to that part."),
    # --- copies and leaks ---
    "exact-copy": Kind(WARNING, "are the same file", "Keep one; splits keep equal files together."),
    "copy-across-parts": Kind(ERROR, "are the same file in two parts", "Take it out of one of the parts."),
    "copy-across-classes": Kind(ERROR, "are the same file with two labels", "Keep it in the right class."),
    "near-copy": Kind(WARNING, "look the same", _TOGETHER),
    "turned-copy": Kind(WARNING, "are mirrored or turned copies", _TOGETHER),
    "near-copy-across-parts": Kind(WARNING, "look the same in two parts", _TOGETHER),
    "near-copy-across-classes": Kind(WARNING, "look the same with two labels", "Look which label is right."),
    "group-across-parts": Kind(ERROR, "is a group in two parts", "Move the whole group to one part."),
    # --- labels, with a run ---
    "label-error": Kind(WARNING, "may have a wrong label", "Look at it; a model can be wrong too."),
}


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: Such as "truncated"; a key of `KINDS`, or of the kinds of box faults.
        severity: "error" or "warning".
        paths: Files, folders or labels that it is about; POSIX, relative to the SOURCE.
        sentence: What is wrong with them.
        remedy: What to do.
    """

    kind: str
    severity: str
    paths: tuple[str, ...]
    sentence: str
    remedy: str


def finding(
    kind: str,
    paths: str | Sequence[str],
    detail: str = "",
    *,
    severity: str | None = None,
    remedy: str | None = None,
) -> Finding:
    """A fault of a kind in the table.

    Args:
        kind: A key of `KINDS`.
        paths: What it is about.
        detail: Follows the kind's title in the sentence, or is the whole sentence if it ends with a full stop.
        severity: Where it differs from the kind's.
        remedy: Where it differs from the kind's.
    """
    names = (paths,) if isinstance(paths, str) else tuple(paths)
    known = KINDS[kind]
    said = (
        detail if detail.endswith(".") else f"{listed(names, most=3)} {known.title}{detail and ': '}{detail}."
    )
    return Finding(kind, severity or known.severity, names, said, remedy or known.remedy)


def about_boxes(found: Finding) -> Finding:
    """The finding with a remedy that images with boxes have, whose recipes know no --skip-bad."""
    return replace(found, remedy=_ANNOTATED_AGAIN) if found.remedy == _COPY_AGAIN else found


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by kind in the order of the table, then by path."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(
        sorted(findings, key=lambda f: (f.severity != ERROR, place.get(f.kind, len(place)), f.kind, f.paths))
    )
