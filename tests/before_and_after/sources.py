"""Sources of the comparison, drawn from seeds: clean ones, and ones with planted faults in files, labels and boxes."""

from __future__ import annotations

import csv
import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

VERSION = 1  # goes up with every change of what is drawn
KINDS = ("bar", "disc", "frame")
HEADER = ("image", "left", "top", "right", "bottom", "class")


def draw_sources(out: Path) -> Path:
    """The folder of all sources, drawn where it is not there yet."""
    root = out / f"sources-{VERSION}"
    if root.exists():
        return root
    new = out / "sources-unfinished"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    _classes(new / "photos", 20)
    _classes(new / "new", 5, 500)
    _groups(new / "groups")
    _crops(new / "crops")
    _threats(new / "threats")
    _bags(new / "bags")
    _scenes(new / "scenes")
    _faulty_files(new / "faulty" / "files")
    _faulty_labels(new / "faulty" / "labels")
    _faulty_parts(new / "faulty" / "parts")
    _faulty_layouts(new / "faulty")
    _faulty_tables(new / "faulty")
    _faulty_boxes(new)
    new.rename(root)
    return root


def shape(label: int, number: int, size: int = 40) -> Image.Image:
    """A bar (0), disc (1) or frame (2) at a random place on noise of its own."""
    generator = np.random.default_rng([label, number])
    style = generator.integers(0, 90, (size, size, 3))
    y, x = np.mgrid[:size, :size] - size // 2 + generator.integers(-4, 5, (2, 1, 1))
    inside = (
        abs(x) < size / 10,
        x**2 + y**2 < (size / 4) ** 2,
        (np.maximum(abs(x), abs(y)) < size / 3) & (np.maximum(abs(x), abs(y)) > size / 5),
    )[label]
    style[inside] += 150
    return Image.fromarray(style.astype(np.uint8))


def save(file: Path, image: Image.Image, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)


def table(file: Path, rows: Sequence[Sequence[object]], separator: str = ",") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=separator).writerows(rows)


def _classes(root: Path, count: int, first: int = 0, kinds: Sequence[str] = KINDS) -> None:
    for label, kind in enumerate(kinds):
        for number in range(count):
            save(root / kind / f"{number:02}.png", shape(label, first + number))


def _groups(root: Path) -> None:
    """Persons p00 to p11, three images each; JPEG, large enough to be decoded smaller, and PNG."""
    for person in range(12):
        label = person % 3
        for number in range(3):
            image = shape(label, 100 * person + number, 40 + 100 * (number == 2))
            save(root / KINDS[label] / f"p{person:02}_{number}.{'jpg' if number else 'png'}", image)


def _crops(root: Path) -> None:
    """What a classifier for windows learns: discs, and noise."""
    for number in range(14):
        save(root / "disc" / f"{number}.png", shape(1, 900 + number))
        noise = np.random.default_rng([9, number]).integers(0, 90, (40, 40, 3))
        save(root / "other" / f"{number}.png", Image.fromarray(noise.astype(np.uint8)))


def _threats(root: Path) -> None:
    """Dark shapes on a bright background, as clean X-ray crops are."""
    for label, kind in enumerate(("gun", "star", "other")):
        for number in range(16):
            grey = np.asarray(shape(label, 300 + number, 48).convert("L"))
            save(root / kind / f"{number}.png", Image.fromarray((240 - grey * 0.9).astype(np.uint8)))


def _bags(root: Path) -> None:
    """24 bags of 16 bits in a bright frame; in every other one a dark block of class gun."""
    root.mkdir()
    rows: list[Sequence[object]] = [HEADER]
    for number in range(24):
        generator, name = np.random.default_rng([5, number]), f"{number:02}.png"
        matter = np.full((72, 96), 0.9)
        matter[5:-5, 5:-5] *= generator.uniform(0.6, 0.8) + generator.uniform(-0.04, 0.04, (62, 86))
        if number % 2:
            rows.append([name, "", "", "", "", ""])
        else:
            left, top = generator.integers(8, 40, 2).tolist()
            matter[top : top + 20, left : left + 30] *= 0.25
            rows.append([name, left, top, left + 30, top + 20, "gun"])
        save(root / name, Image.fromarray((matter * 65535).astype(np.uint16)))
    table(root / "boxes.csv", rows)


def _scenes(root: Path) -> None:
    """24 noisy images with a bar, a disc or both somewhere, every fourth one without."""
    rows: list[Sequence[object]] = [HEADER]
    for number in range(24):
        generator, name = np.random.default_rng([6, number]), f"{number:02}.png"
        scene = Image.fromarray(generator.integers(0, 90, (72, 96, 3)).astype(np.uint8))
        places = [[], [0], [1], [0, 1]][number % 4]
        for label in places:
            left = int(generator.integers(0, 16)) + 48 * label
            top = int(generator.integers(0, 32))
            scene.paste(shape(label, 700 + number, 32), (left, top))
            rows.append([name, left, top, left + 32, top + 32, KINDS[label]])
        if not places:
            rows.append([name, "", "", "", "", ""])
        save(root / name, scene)
    table(root / "boxes.csv", rows)


def _bomb(file: Path) -> None:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    save(file, shape(0, 1))
    content = file.read_bytes()
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + content[24:29]
    file.write_bytes(content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:])


def _faulty_files(root: Path) -> None:
    """One of each: broken, odd and unread files."""
    _classes(root, 12, 40)
    bar = root / "bar"
    (bar / "00.png").write_bytes(b"")
    (bar / "01.png").write_bytes((bar / "01.png").read_bytes()[:900])
    (bar / "02.png").write_bytes(b"hello, this is no image")
    _bomb(bar / "bomb.png")
    Image.fromarray(np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)).save(bar / "f.tif")
    save(bar / "odd.png", shape(0, 80), format="JPEG")
    save(bar / "print.jpg", shape(0, 81).convert("CMYK"))
    for name, top in (("deep", 65535), ("narrow", 4095)):
        ramp = np.linspace(0, top, 1600).reshape(40, 40).astype(np.uint16)
        save(bar / f"{name}.png", Image.fromarray(ramp))
    save(bar / "few.png", shape(0, 82).convert("P"))
    clear = shape(0, 83).convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 128))
    save(bar / "clear.png", clear)
    save(bar / "film.gif", shape(0, 84), save_all=True, append_images=[shape(0, 85), shape(0, 86)])
    exif = Image.Exif()
    exif[0x0112] = 6
    save(bar / "turned.jpg", shape(0, 87), exif=exif)
    save(bar / "long.png", shape(0, 88, 120).crop((0, 0, 120, 12)))
    save(bar / "tiny.png", shape(0, 89, 8))
    save(bar / "grey.jpg", Image.new("RGB", (300, 300), (90, 91, 92)))
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 5:25] = 255
    save(bar / "mask.png", Image.fromarray(mask))
    (bar / "again").symlink_to("..")
    (bar / "gone.png").symlink_to("nowhere.png")
    save(bar / "picture.dat", shape(0, 90), format="PNG")
    for name in ("cañón.png", "my gun.png", "aux.png", "A.png", "a.png", "._1.jpg"):
        save(bar / name, shape(0, 91 + len(name) + ord(name[0])), format="PNG")
    for number in range(6):
        save(root / "disc" / f"{number:02}_thumb.png", shape(2, 70 + number))
    save(root / "_spare" / "0.png", shape(2, 99))
    run = root / "saved_models" / "small-cnn-photos" / "1"
    run.mkdir(parents=True)
    for name in ("options.json", "recipe.py"):
        (run / name).write_text("{}")


def _smooth(number: int) -> Image.Image:
    small = np.random.default_rng([8, number]).integers(0, 256, (6, 6), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def _faulty_labels(root: Path) -> None:
    """Copies, near duplicates, spellings, an empty class, a large one."""
    _classes(root, 12, 140)
    shutil.copy(root / "bar" / "00.png", root / "bar" / "z.png")
    shutil.copy(root / "bar" / "01.png", root / "disc" / "z.png")
    save(root / "bar" / "one.png", _smooth(1))
    save(root / "bar" / "two.jpg", _smooth(1).resize((50, 50)), quality=80)
    save(root / "bar" / "three.jpg", _smooth(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=80)
    save(root / "disc" / "four.jpg", _smooth(1).rotate(90), quality=80)
    _classes(root, 3, 180, ("Bar ",))
    (root / "empty").mkdir()
    for number in range(70):
        save(root / "frame" / f"{100 + number}.png", shape(2, 200 + number))


def _faulty_parts(root: Path) -> None:
    """train/ and test/, one image in both, one turned, one class in test only."""
    _classes(root / "train", 10, 240)
    _classes(root / "test", 4, 260, ("bar", "disc", "frame"))
    shutil.copy(root / "train" / "bar" / "00.png", root / "test" / "bar" / "copy.png")
    save(root / "train" / "bar" / "near.png", _smooth(2))
    save(root / "test" / "bar" / "near.jpg", _smooth(2).rotate(180), quality=80)
    save(root / "test" / "ring" / "0.png", shape(2, 280))


def _faulty_layouts(root: Path) -> None:
    """Folders that are no class folders, or not quite."""
    for number in range(6):
        save(root / "loose" / f"{number}.png", shape(number % 3, 300 + number))
    _classes(root / "mixed" / "train", 8, 320, ("bar", "disc"))
    _classes(root / "mixed", 8, 340, ("ring",))
    _classes(root / "single", 8, 360, ("bar",))
    _classes(root / "tiny", 12, 380)
    for kind, count in (("few", 3), ("one", 2)):
        for number in range(count):
            save(root / "tiny" / kind / f"{number}.png", shape(2, 400 + number))


def _faulty_tables(root: Path) -> None:
    """CSV: one that is understood, one with faults in its cells, one with two classes for a file."""
    _classes(root / "listed", 8, 420)
    names = [f"listed/{kind}/{n:02}.png" for kind in KINDS for n in range(8)]
    rows = [[name, name.split("/")[1], f"g{i % 12}"] for i, name in enumerate(names)]
    table(root / "table.csv", [["file", "class", "group"], *rows], ";")
    bad = [
        ["listed/bar/99.png", "bar"],
        ["../photos/disc/00.png", "disc"],
        [names[0], ""],
        [names[1], "nan"],
        ["=1+1", "bar"],
    ]
    table(root / "columns.csv", [["path", "label"], *(row[:2] for row in rows), *bad])
    table(
        root / "many.csv",
        [["path", "label"], *(row[:2] for row in rows), [names[0], "disc"], [*rows[2][:2], "x", "y"]],
    )


def _box_images(root: Path, count: int = 5) -> None:
    for number in range(count):
        noise = np.random.default_rng([4, number]).integers(0, 255, (80, 100), np.uint8)
        save(root / f"{number}.png", Image.fromarray(noise))


def _faulty_boxes(root: Path) -> None:
    """Four formats, each with good boxes and one of each fault that it can have."""
    good = [["0.png", 1, 1, 50, 60, "gun"], ["1.png", 10, 10, 40, 40, "knife"], ["2.png", "", "", "", "", ""]]
    bad = [(5, 5, 5, 9), (5, 50, 9, 20), (-4, 70, 30, 90), (200, 70, 230, 90), (0.1, 0.2, 0.5, 0.9), ("x", 2, 5, 9),
           (1, 1, 50, 60)]  # fmt: skip
    _box_images(root / "boxes-csv")
    odd = [["3.png", *map(str, box), "gun"] for box in bad]
    more = [
        ["0.png", 1, 1, 50, 60, "gun"],
        ["3.png", 1, 2, 5, 9, ""],
        ["9.png", 1, 2, 5, 9, "gun"],
        ["0.png", 2, 2, 30, 30, "Gun"],
    ]
    table(root / "boxes-csv" / "boxes.csv", [HEADER, *good, *odd, *more])

    _box_images(root / "boxes-coco")
    numbers = [box for box in bad if "x" not in box]
    annotations = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 49, 59], "area": 2891, "iscrowd": 0},
                   {"id": 2, "image_id": 1, "category_id": 2, "bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0},
                   {"id": 2, "image_id": 1, "category_id": 7, "bbox": [3, 3, 5, 5]}]  # fmt: skip
    annotations += [
        {"id": 10 + i, "image_id": 3, "category_id": 1, "bbox": [a, b, c - a, d - b]} for i, (a, b, c, d) in enumerate(numbers)
    ]  # fmt: skip
    images = [
        {"id": n, "file_name": f"{n}.png", "width": 100 + 20 * (n == 4), "height": 80}
        for n in (0, 1, 2, 3, 4, 9)
    ]
    categories = [{"id": 1, "name": "gun"}, {"id": 2, "name": "knife"}, {"id": 3, "name": "gun"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "boxes-coco" / "annotations.json").write_text(json.dumps(content))

    _box_images(root / "boxes-yolo" / "images")
    lines = {0: ["0 0.25 0.4 0.5 0.7"], 1: ["1 0.3 0.3 0.2 0.2", "1 0.3 0.3 0.2 0.2"], 2: [],
             3: ["0 0.5 0.5 0 0.2", "0 1.2 0.5 0.2 0.2", "7 0.5 0.5 0.2 0.2", "0 50 40 20 20", "0 a b c d", "0 0.5"]}  # fmt: skip
    (root / "boxes-yolo" / "labels").mkdir()
    for number, text in lines.items():
        (root / "boxes-yolo" / "labels" / f"{number}.txt").write_text("\n".join(text) + "\n")
    (root / "boxes-yolo" / "labels" / "9.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "boxes-yolo" / "data.yaml").write_text("names: [gun, knife]\ntrain: images\n")

    _box_images(root / "boxes-voc" / "JPEGImages")
    for number, boxes in {0: [(2, 2, 50, 60)], 1: [(10, 10, 40, 40)], 2: [], 3: numbers}.items():
        _voc(root / "boxes-voc" / "Annotations" / f"{number}.xml", number, boxes)
    shutil.copytree(root / "boxes-voc", root / "boxes-broken")
    (root / "boxes-broken" / "Annotations" / "4.xml").write_text("<annotation><object>")


def _voc(file: Path, number: int, boxes: Sequence[Sequence[float | str]]) -> None:
    top = ET.Element("annotation")
    ET.SubElement(top, "filename").text = f"{number}.png"
    size = ET.SubElement(top, "size")
    for name, value in (("width", 100), ("height", 80), ("depth", 1)):
        ET.SubElement(size, name).text = str(value)
    for box in boxes:
        found = ET.SubElement(top, "object")
        ET.SubElement(found, "name").text = "gun"
        frame = ET.SubElement(found, "bndbox")
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ET.SubElement(frame, name).text = str(value)
    file.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(top).write(file)
