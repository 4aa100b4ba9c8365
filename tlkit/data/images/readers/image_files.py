"""Image files of a folder: all that lie below it, which are taken for images, and why others are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tlkit.data.images.decoding.formats import IMAGE_SUFFIXES

STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")  # of image files
NOT_READ = {
    ".heic": "it is HEIC: save it as JPEG, or install a reader: pip install 'tlkit[heif]'",
    ".heif": "it is HEIF: save it as JPEG, or install a reader: pip install 'tlkit[heif]'",
    ".avif": "it is AVIF, which this Pillow does not read: pip install -U pillow, or save it as JPEG",
    ".jp2": "it is JPEG 2000, which this Pillow does not read: save it as PNG",
    ".dcm": "it is DICOM: export it as PNG of 16 bit",
    ".svg": "it is a drawing of lines: save it as PNG",
    ".raw": "it is a camera's raw file: develop it to JPEG",
    ".cr2": "it is a camera's raw file: develop it to JPEG",
    ".nef": "it is a camera's raw file: develop it to JPEG",
    ".dng": "it is a camera's raw file: develop it to JPEG",
    ".psd": "it is a Photoshop file: save it as PNG",
    ".npy": "it is an array: save it as PNG",
}


def is_image(file: Path) -> bool:
    """Whether a file in a folder is taken for an image: its suffix says so, or it has none and begins like one.

    The one rule for every verb that reads a folder. Hidden files are none: `._1.jpg` is what a system writes beside
    `1.jpg`. A file that is named, by a person or a table, is tried whatever its name.
    """
    if file.name.startswith("."):
        return False
    suffix = file.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (not suffix and begins_like_an_image(file))


def is_hidden_image(file: Path) -> bool:
    """Whether a file would be an image by its suffix and is hidden, which is worth a word."""
    return file.name.startswith(".") and file.suffix.lower() in IMAGE_SUFFIXES


def begins_like_an_image(file: Path) -> bool:
    """Whether the first bytes are those of JPEG, PNG, GIF, WebP, BMP or TIFF."""
    try:
        with file.open("rb") as stream:
            start = stream.read(8) if file.is_file() else b""
    except OSError:
        return False
    return any(start.startswith(known) for known in STARTS)


def why_not_read(file: Path) -> str:
    """Why a file in a folder is not taken for an image, for people."""
    if file.suffix.lower() in NOT_READ:
        return NOT_READ[file.suffix.lower()]
    if begins_like_an_image(file):
        return "it is an image, but its suffix names none"
    return "it is no image"


def files_below(folder: Path) -> tuple[list[str], list[str]]:
    """POSIX paths of the files below a folder, relative to it and sorted, and of the links there.

    Hidden files and folders are passed over. A link to a file is among both; a linked folder is not entered.
    """
    files: list[str] = []
    links: list[str] = []
    waiting = [""]
    while waiting:
        above = waiting.pop()
        try:
            entries = list(os.scandir(folder / above))
        except OSError:  # locked, or gone; tlkit check names it
            continue
        for entry in entries:
            path = f"{above}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links.append(path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{path}/")
            elif entry.is_file():
                files.append(path)
    return sorted(files, key=lambda path: path.split("/")), sorted(links)


def is_named_image(path: str) -> bool:
    """Whether a file's name is that of an image."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def images_below(folder: Path) -> Iterator[str]:
    """POSIX paths of the images below a folder, relative to it, sorted; hidden ones are passed over."""
    return (path for path in files_below(folder)[0] if is_image(folder / path))
