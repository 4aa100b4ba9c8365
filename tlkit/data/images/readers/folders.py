"""Class folders: one folder a class, with or without folders of parts above them, however people name these.

One walk serves both who learn and who check: what is left out, and what stands in the way, become findings.
`read_images` refuses the first error among them and says the rest in a sentence or two; `tlkit check` lists all.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlkit.core.reading import PLAIN, Reading
from tlkit.core.text import count, listed
from tlkit.data.images.dataset import PART_NAMES, TRAINING, Found, Row
from tlkit.data.images.findings import Finding, finding
from tlkit.data.images.readers.image_files import is_hidden_image, is_image, why_not_read

LITTER = frozenset(("thumbs.db", "desktop.ini"))  # what a system leaves, beside names that begin with a dot
# What stands beside the name of a part in names of folders: training_set, test-images, seg_train.
PART_WORDS = frozenset(("set", "data", "dataset", "images", "imgs", "split", "folder"))
RUNS = "saved_models"  # where runs end up unless somebody says otherwise
RUN_FILES = ("options.json", "recipe.py")  # what lies in every run's folder, finished or not
DEEPEST_WRAPPING = 4
LOST = ("unreadable", "symlink-loop", "broken-link")  # what is there and cannot be had


def read_class_folders(source: str, root: Path, reading: Reading = PLAIN) -> Found:
    """List the images of a folder by class.

    Args:
        source: As typed.
        root: The folder.
        reading: Which of its images are wanted.
    """
    found = Found()
    walk = _Walk(root, reading, found.findings)
    top = _unwrapped(walk, found)
    folders = [folder for folder in walk.folders(top) if not walk.is_left_out(folder)]
    if not folders:
        _take_loose(walk, top, found)
        return found
    parts = part_folders([folder.name for folder in folders])
    split = {folder: parts[folder.name] for folder in folders if folder.name in parts}
    classes = [folder for folder in folders if folder not in split]
    if split and any(walk.images(folder) for folder in classes):
        _mixed(source, walk, split, classes, found)
    tops: dict[Path, str | None] = {**split} or {top: None}
    for folder, part in tops.items():
        _take(walk, folder, part, found)
    if split:
        _unlabelled_parts(walk, split, found)
    beside = [] if split else [walk.name(p) for p in walk.loose(top)]
    found.findings += [
        finding("ignored-file", name, "it lies beside the class folders, in none of them") for name in beside
    ]
    found.names = sorted({*found.names})
    found.remarks += walk.remarks(top)
    return found


class Below(NamedTuple):
    """The images below a folder.

    Attributes:
        paths: POSIX, relative to the folder, sorted.
        findings: What was passed over.
        remarks: The same in sentences, counted.
    """

    paths: list[str]
    findings: list[Finding]
    remarks: list[str]


def images_below(root: Path) -> Below:
    """All images below a folder, whatever their class: by the rule that class folders are read by (`image_files`)."""
    findings: list[Finding] = []
    walk = _Walk(root, PLAIN, findings)
    return Below(walk.images(root), findings, walk.passed_over())


def part_folders(names: Sequence[str]) -> dict[str, str]:
    """Which of the names of sibling folders are parts, and of which: `train`, `Training_Set`, `seg_test`.

    A name is a part's if it is one of `PART_NAMES`, or one of these beside words that mean nothing more (`set`,
    `images`) or beside the same words in two names of different parts (`seg_train`, `seg_test`).
    """
    found: dict[str, str] = {}
    beside: dict[str, dict[str, str]] = {}
    for name in names:
        words = [word for word in re.split(r"[\s_.\-]+", name.casefold()) if word]
        known = [word for word in words if word in PART_NAMES]
        if len(known) != 1:
            continue
        rest = [word for word in words if word != known[0] and word not in PART_WORDS]
        if not rest:
            found[name] = PART_NAMES[known[0]]
        else:
            beside.setdefault(" ".join(rest), {})[name] = PART_NAMES[known[0]]
    for alike in beside.values():
        if len(set(alike.values())) > 1:
            found |= alike
    return found


# --- layouts ---


def _unwrapped(walk: _Walk, found: Found) -> Path:
    """The folder whose folders are the classes or parts: lone folders without images of their own only wrap them."""
    top = walk.root
    for _ in range(DEEPEST_WRAPPING):
        folders = [folder for folder in walk.folders(top) if walk.images(folder)]
        if walk.loose(top) or not folders:
            return walk.root
        if len(folders) > 1 or part_folders([folders[0].name]):
            break
        top = folders[0]
    if top == walk.root or walk.loose(top):
        return walk.root
    found.remarks.append(f"The classes are the folders in {walk.name(top)}/, which wraps them.")
    return top


def _take(walk: _Walk, folder: Path, part: str | None, found: Found) -> None:
    """The class folders in a folder, as rows."""
    spelled: dict[str, list[str]] = {}
    for label in walk.folders(folder):
        images = walk.images(label)
        if walk.is_left_out(label):
            continue
        name = unicodedata.normalize("NFC", label.name)
        spelled.setdefault(name, []).append(label.name)
        found.names.append(name)
        found.rows += [Row(path, name, part) for path in images]
    for name, folders in spelled.items():
        if len(folders) > 1:
            found.remarks.append(f"{len(folders)} folders are named {name}, stored in two ways: one class.")


def _take_loose(walk: _Walk, top: Path, found: Found) -> None:
    """Images without class folders: one class, named after the folder, for recipes that imitate it."""
    images = [walk.name(path) for path in walk.loose(top)]
    found.loose = bool(images)
    if images:
        label = unicodedata.normalize("NFC", top.resolve().name)
        found.rows = [Row(path, label) for path in images]
        found.names = [label]
    found.remarks += walk.remarks(top)


def _mixed(source: str, walk: _Walk, split: dict[Path, str], classes: list[Path], found: Found) -> None:
    """Folders of parts and of classes side by side: nobody can tell what belongs where."""
    some = [folder.name for folder in classes if walk.images(folder)]
    plain = [folder for folder in split if not walk.folders(folder)]
    if len(plain) == len(split) == 1:
        name = plain[0].name
        why = (
            f"{source} has a folder {name}/ of images beside {listed(some, most=3)}: a class, or the {split[plain[0]]} "
            "part without class folders?"
        )
        remedy = f"Rename it if it is a class ({name}s/), or put class folders into it."
    else:
        names = ", ".join(folder.name for folder in split)
        why = f"{source} mixes split folders ({names}) and class folders ({', '.join(some[:3])})."
        remedy = "Keep class folders at the top, or train/, validation/ and test/ with class folders inside."
    found.findings.append(finding("mixed-layout", [*(p.name for p in split), *some], why, remedy=remedy))
    for folder in classes:
        name = unicodedata.normalize("NFC", folder.name)
        found.names.append(name)
        found.rows += [Row(path, name) for path in walk.images(folder)]


def _unlabelled_parts(walk: _Walk, split: dict[Path, str], found: Found) -> None:
    """Parts that hold images without class folders: they cannot be learned or evaluated by."""
    for folder, part in split.items():
        loose = walk.loose(folder)
        if not loose:
            continue
        name = walk.name(folder)
        if part == TRAINING and not any(row.part == TRAINING for row in found.rows):
            remedy = f"Put each class in its own folder ({name}/gun/1.png, {name}/blade/2.png)."
            why = f"{name}/ has images but no class folders."
            found.findings.append(finding("no-classes", name, why, remedy=remedy))
            continue
        found.findings += [
            finding("ignored-file", walk.name(path), "it lies in a part, in no class folder")
            for path in loose
        ]
        found.remarks.append(
            f"{len(loose)} images in {name}/ lie in no class folder: they have no label and are not used."
        )


# --- the walk ---


class _Entries(NamedTuple):
    """What one folder holds: folders, wanted images, and whether there are images that are not wanted."""

    folders: list[Path]
    images: list[Path]
    unwanted: bool


class _Walk:
    """Looks into each folder once: its folders, its images, and a finding for all that is neither."""

    def __init__(self, root: Path, reading: Reading, findings: list[Finding]) -> None:
        self.root, self._reading, self._findings = root, reading, findings
        self._seen: dict[Path, _Entries] = {}
        self._below: dict[Path, tuple[list[str], bool]] = {}
        self._not_read: dict[str, list[str]] = {}
        self._runs: list[str] = []
        self._links: list[str] = []
        self._hidden: list[str] = []
        self._unwanted = 0

    def name(self, path: Path) -> str:
        """POSIX path relative to the source."""
        return path.relative_to(self.root).as_posix()

    def folders(self, folder: Path) -> list[Path]:
        """The folders in a folder that may be classes or parts, sorted."""
        return [path for path in self._look(folder).folders if not path.name.startswith("_")]

    def loose(self, folder: Path) -> list[Path]:
        """The wanted images directly in a folder, sorted."""
        return self._look(folder).images

    def images(self, folder: Path) -> list[str]:
        """POSIX paths of the wanted images anywhere below a folder, sorted."""
        return self._all_below(folder)[0]

    def is_left_out(self, folder: Path) -> bool:
        """Whether a folder is no class for lack of wanted images: all are unwanted, or it is where runs end up."""
        images, unwanted = self._all_below(folder)
        return not images and (unwanted or folder.name == RUNS)

    def _all_below(self, folder: Path) -> tuple[list[str], bool]:
        if folder not in self._below:
            found, unwanted, waiting = [], False, [folder]
            while waiting:
                entries = self._look(waiting.pop())
                found += [self.name(path) for path in entries.images]
                unwanted |= entries.unwanted
                for path in entries.folders:
                    if not path.is_symlink():
                        waiting.append(path)
                    else:
                        self._links.append(self.name(path))
                        self._findings.append(finding("ignored-link", self.name(path)))
            self._below[folder] = sorted(found), unwanted
        return self._below[folder]

    def _look(self, folder: Path) -> _Entries:
        if folder not in self._seen:
            self._seen[folder] = self._entries(folder)
        return self._seen[folder]

    def _entries(self, folder: Path) -> _Entries:
        folders, images, unwanted = [], [], 0
        for entry in self._visible(folder):
            path = self.name(entry)
            if entry.is_dir():
                if _holds_runs(entry):
                    self._runs.append(path)
                    self._findings.append(finding("run-folder", path))
                else:
                    folders.append(entry)
            elif is_image(entry):
                wanted = self._reading.wants(path)
                images += [entry] * wanted
                unwanted += not wanted
            elif entry.name.lower() not in LITTER:
                self._not_read.setdefault(entry.suffix.lower(), []).append(path)
                self._findings.append(finding("ignored-file", path, why_not_read(entry)))
        self._unwanted += unwanted
        return _Entries(folders, images, bool(unwanted))

    def _visible(self, folder: Path) -> list[Path]:
        """What lies in a folder, sorted, without hidden entries and links that lead nowhere or back."""
        try:
            if not folder.stat().st_mode & 0o444 or not os.access(folder, os.R_OK | os.X_OK):
                self._findings.append(finding("unreadable", self.name(folder)))
                return []
            every = sorted(folder.iterdir())
        except OSError as error:
            self._findings.append(finding("unreadable", self.name(folder), error.strerror or str(error)))
            return []
        self._hidden += [self.name(path) for path in every if is_hidden_image(path)]
        entries = [path for path in every if not path.name.startswith(".")]
        faults = {entry: self._link_fault(entry) for entry in entries if entry.is_symlink()}
        self._findings += [fault for fault in faults.values() if fault]
        return [entry for entry in entries if not faults.get(entry)]

    def _link_fault(self, link: Path) -> Finding | None:
        path = self.name(link)
        try:
            target = link.resolve(strict=True)
        except RuntimeError:  # how Python 3.11 and 3.12 call a link to itself
            return finding("symlink-loop", path)
        except OSError as error:
            return finding("symlink-loop" if error.errno == errno.ELOOP else "broken-link", path)
        loops = target.is_dir() and target in (link.parent.resolve(), *link.parent.resolve().parents)
        return finding("symlink-loop", path) if loops else None

    def passed_over(self) -> list[str]:
        """A sentence for each kind of thing that is not read, whatever is asked of the others."""
        said = []
        if self._runs:
            said.append(f"{listed(self._runs, most=3)} holds runs of tlkit and is no class.")
        if self._not_read:
            kinds = [f"{len(paths)} {suffix or 'without suffix'}" for suffix, paths in self._not_read.items()]
            first = next(iter(self._not_read.values()))[0]
            said.append(f"Files that are not read: {listed(kinds)} (the first: {first}).")
        if self._links:
            said.append(f"Linked folders that are not followed: {listed(self._links, most=3)}.")
        if lost := [path for found in self._findings if found.kind in LOST for path in found.paths]:
            said.append(f"Cannot be read, or links to nothing or back: {listed(lost, most=3)}.")
        if self._hidden:
            number = count(len(self._hidden), "image")
            said.append(f"Hidden files are passed over: {number} (the first: {self._hidden[0]}).")
        return said

    def remarks(self, top: Path) -> list[str]:
        """A sentence for each kind of thing that was passed over."""
        said = self.passed_over()
        parts = part_folders([folder.name for folder in self.folders(top)])
        places = [top, *(folder for folder in self.folders(top) if folder.name in parts)]
        beside = [path for place in places for path in self._look(place).folders]
        if hidden := [path for path in beside if path.name.startswith("_")]:
            told = [f"{self.name(p)} ({count(len(self.images(p)), 'image')})" for p in hidden]
            said.append(
                f"Folders that begin with _ are no classes and are passed over: {listed(told, most=3)}."
            )
        if self._unwanted:
            said.append(f"Left out by --include or --exclude: {count(self._unwanted, 'image')}.")
        return said


def _holds_runs(folder: Path) -> bool:
    """Whether a folder is a run's, or one where runs are kept: NAME/NUMBER/ below it."""
    patterns = ("", "*/", "*/*/")
    return any(all(any(folder.glob(place + name)) for name in RUN_FILES) for place in patterns)
