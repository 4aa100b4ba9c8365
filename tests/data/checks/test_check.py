"""Every kind of fault in the table is planted once, found, named, and found alone; clean sets stay clean."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw
from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.masks.rle import encode
from tlkit.data.boxes.splits import split_boxes
from tlkit.data.checks.check import check_source
from tlkit.data.checks.listing import list_source
from tlkit.data.images.findings import ERROR, KINDS, WARNING
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault


def draw_image(number, label=0, size=40):
    """An image that is in no set that these tests make."""
    return draw(label, 1000 + number, size)


def save(root, name, image, **options):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name, **options)


def write_csv(file, rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


# --- what is planted in a clean folder of two classes: kind -> (planting, path named) ---


def unreadable(root):
    (root / "bar/0.png").chmod(0)


def not_a_file(root):
    os.mkfifo(root / "bar/pipe.png")


def zero_byte(root):
    (root / "bar/0.png").write_bytes(b"")


def truncated(root):
    file = root / "bar/0.png"
    file.write_bytes(file.read_bytes()[:900])


def undecodable(root):
    (root / "bar/0.png").write_bytes(b"hello, this is no image")


def bomb(root):
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    file = root / "bar/bomb.png"
    save(root, "bar/bomb.png", draw_image(0))
    contents = file.read_bytes()
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + contents[24:29]
    file.write_bytes(contents[:12] + header + zlib.crc32(header).to_bytes(4, "big") + contents[33:])


def float_values(root):
    Image.fromarray(np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)).save(
        root / "bar/f.tif"
    )


def wrong_extension(root):
    save(root, "bar/odd.png", draw_image(0), format="JPEG")


def cmyk(root):
    save(root, "bar/print.jpg", draw_image(0).convert("CMYK"))


def deep(top):
    def plant(root):
        ramp = np.linspace(0, top, 1600).reshape(40, 40).astype(np.uint16)
        Image.fromarray(ramp).save(root / "bar/deep.png")

    return plant


def palette(root):
    save(root, "bar/few.png", draw_image(0).convert("P"))


def alpha(root):
    image = draw_image(0).convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 128))
    save(root, "bar/clear.png", image)


def animated(root):
    save(root, "bar/film.gif", draw_image(0), save_all=True, append_images=[draw_image(1), draw_image(2)])


def turned_by_exif(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root, "bar/turned.jpg", draw_image(0), exif=exif)


def long_image(root):
    save(root, "bar/long.png", draw_image(0, size=120).crop((0, 0, 120, 12)))


def tiny_image(root):
    save(root, "bar/tiny.png", draw_image(0, size=8))


def constant(root):
    save(root, "bar/grey.jpg", Image.new("RGB", (300, 300), (90, 91, 92)))


def symlink_loop(root):
    (root / "bar/again").symlink_to(root)


def broken_link(root):
    (root / "bar/gone.png").symlink_to(root / "nowhere.png")


def ignored_link(root):
    save(root.parent / "elsewhere", "1.png", draw_image(0))
    (root / "bar/more").symlink_to(root.parent / "elsewhere")


def ignored_file(root):
    save(root, "bar/picture.dat", draw_image(0), format="PNG")


def named(name):
    def plant(root):
        save(root, f"bar/{name}", draw_image(0), format="PNG")

    return plant


def collision(root):
    save(root, "bar/A.png", draw_image(0))
    save(root, "bar/a.png", draw_image(1))


def spelling(root):
    shutil.move(root / "disc", root / "Bar ")


def no_classes(root):
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        file.rename(root / f"{number}.png")
    for folder in (root / "bar", root / "disc"):
        folder.rmdir()


def mixed_layout(root):
    # 12 bars and discs in train/, and one class beside it
    for kind in ("bar", "disc"):
        shutil.copytree(root / kind, root / "train" / kind)
    shutil.rmtree(root / "bar")
    for file in (root / "disc").iterdir():
        file.unlink()
    for number in range(12):
        save(root, f"disc/{number}.png", draw_image(number))


def one_class(root):
    shutil.rmtree(root / "disc")


def empty_class(root):
    (root / "frame").mkdir()


def tiny_class(root):
    for number in range(5):
        save(root, f"frame/{number}.png", draw_image(number, 2))


def imbalance(root):
    for number in range(60):
        save(root, f"bar/{1000 + number}.png", draw_image(number))


def exact_copy(root):
    shutil.copy(root / "bar/0.png", root / "bar/z.png")


def copy_across_classes(root):
    shutil.copy(root / "bar/0.png", root / "disc/z.png")


def smooth(number):
    """An image with detail that survives a JPEG: blobs."""
    small = np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)
    return Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)


def near_copy(root):
    save(root, "bar/one.png", smooth(1))
    save(root, "bar/two.jpg", smooth(1).resize((50, 50)), quality=80)


def turned_copy(root):
    save(root, "bar/one.png", smooth(1))
    save(root, "bar/two.jpg", smooth(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=80)


def near_copy_across_classes(root):
    save(root, "bar/one.png", smooth(1))
    save(root, "disc/two.jpg", smooth(1).rotate(90), quality=80)


def two_tone(root):
    pixels = np.zeros((40, 40), np.uint8)
    pixels[10:30, 5:25] = 255
    Image.fromarray(pixels).save(root / "bar" / "mask.png")


def twin_names(root):
    for number in range(6):
        draw(2, number + 50).save(root / "disc" / f"{number}_thumb.png")


def run_folder(root):
    run = root / "saved_models" / "small-cnn-photos" / "1"
    run.mkdir(parents=True)
    for name in ("options.json", "recipe.py"):
        (run / name).write_text("{}")


FOLDER_PLANTS = {
    "unreadable": (unreadable, "bar/0.png"),
    "not-a-file": (not_a_file, "bar/pipe.png"),
    "zero-byte": (zero_byte, "bar/0.png"),
    "truncated": (truncated, "bar/0.png"),
    "undecodable": (undecodable, "bar/0.png"),
    "decompression-bomb": (bomb, "bar/bomb.png"),
    "unsupported-values": (float_values, "bar/f.tif"),
    "wrong-extension": (wrong_extension, "bar/odd.png"),
    "cmyk": (cmyk, "bar/print.jpg"),
    "sixteen-bit": (deep(65535), "bar/deep.png"),
    "narrow-range": (deep(4095), "bar/deep.png"),
    "palette": (palette, "bar/few.png"),
    "alpha": (alpha, "bar/clear.png"),
    "animated": (animated, "bar/film.gif"),
    "exif-turned": (turned_by_exif, "bar/turned.jpg"),
    "extreme-aspect": (long_image, "bar/long.png"),
    "extreme-size": (tiny_image, "bar/tiny.png"),
    "constant": (constant, "bar/grey.jpg"),
    "two-tone": (two_tone, "bar/mask.png"),
    "symlink-loop": (symlink_loop, "bar/again"),
    "broken-link": (broken_link, "bar/gone.png"),
    "ignored-link": (ignored_link, "bar/more"),
    "ignored-file": (ignored_file, "bar/picture.dat"),
    "run-folder": (run_folder, "saved_models"),
    "undecodable-name": (named(os.fsdecode(b"caf\xe9.png")), f"bar/{os.fsdecode(b'caf')}\udce9.png"),
    "unicode-name": (named("cañón.png"), "bar/cañón.png"),
    "blank-name": (named("my gun.png"), "bar/my gun.png"),
    "windows-name": (named("aux.png"), "bar/aux.png"),
    "name-collision": (collision, "bar/A.png"),
    "label-spelling": (spelling, "Bar "),
    "twin-names": (twin_names, "disc/0_thumb.png"),
    "no-classes": (no_classes, None),
    "mixed-layout": (mixed_layout, "train"),
    "one-class": (one_class, "bar"),
    "empty-class": (empty_class, "frame"),
    "tiny-class": (tiny_class, "frame"),
    "imbalance": (imbalance, "disc"),
    "exact-copy": (exact_copy, "bar/z.png"),
    "copy-across-classes": (copy_across_classes, "disc/z.png"),
    "near-copy": (near_copy, "bar/two.jpg"),
    "turned-copy": (turned_copy, "bar/two.jpg"),
    "near-copy-across-classes": (near_copy_across_classes, "disc/two.jpg"),
}
# What a fault brings with it: a thing may be wrong in more than one way.
ALONG = {
    "narrow-range": {"sixteen-bit"},
    "extreme-aspect": set(),
    "label-spelling": {"blank-name", "windows-name"},
    "no-classes": {"one-class"},
}


@pytest.fixture
def folder(make_folder):
    return make_folder("photos", bar=12, disc=12)


def test_a_clean_folder_has_no_findings(folder):
    check = check_source(str(folder))
    assert check.findings == ()
    assert check.counts == {"bar": 12, "disc": 12}
    assert (check.form, check.parts, len(check.paths), len(set(check.sha256))) == ("classes", {}, 24, 24)


@pytest.mark.parametrize("kind", FOLDER_PLANTS)
def test_a_planted_fault_is_found_named_and_alone(kind, folder):
    plant, path = FOLDER_PLANTS[kind]
    plant(folder)
    findings = check_source(str(folder)).findings
    assert {found.kind for found in findings} == {kind} | ALONG.get(kind, set())
    found = next(found for found in findings if found.kind == kind)
    assert found.severity == KINDS[kind].severity
    assert (path or str(folder)) in found.paths
    assert found.sentence.endswith(".")
    assert found.remedy


# --- parts ---


@pytest.fixture
def split_folder(make_folder, tmp_path):
    """train/ with 12 of each class, test/ with 4 others."""
    for part, count in (("train", 16), ("test", 4)):
        made = make_folder(f"made-{part}", bar=count, disc=count)
        shutil.copytree(made, tmp_path / "split" / part)
    for kind in ("bar", "disc"):
        for number in range(4):
            (tmp_path / "split/train" / kind / f"{number}.png").unlink()  # else they were in both
    return tmp_path / "split"


def copy_across_parts(root):
    shutil.copy(root / "train/bar/5.png", root / "test/bar/z.png")


def near_copy_across_parts(root):
    save(root, "train/bar/one.png", smooth(1))
    save(root, "test/bar/two.jpg", smooth(1).rotate(180), quality=80)


def missing_in_part(root):
    shutil.rmtree(root / "test/disc")


def missing_part(root):
    (root / "train").rename(root / "validation")


SPLIT_PLANTS = {
    "copy-across-parts": (copy_across_parts, "test/bar/z.png", ERROR),
    "near-copy-across-parts": (near_copy_across_parts, "test/bar/two.jpg", WARNING),
    "missing-in-part": (missing_in_part, "disc", WARNING),
    "missing-part": (missing_part, "training", ERROR),
}


def test_a_clean_split_folder_has_no_findings(split_folder):
    check = check_source(str(split_folder))
    assert check.findings == ()
    assert check.parts == {"training": 24, "test": 8}


@pytest.mark.parametrize("kind", SPLIT_PLANTS)
def test_a_planted_leak_is_found_named_and_alone(kind, split_folder):
    plant, path, severity = SPLIT_PLANTS[kind]
    plant(split_folder)
    (found,) = check_source(str(split_folder)).findings
    assert (found.kind, found.severity) == (kind, severity)
    assert path in found.paths


def test_a_class_that_is_judged_and_never_learned_is_an_error(split_folder):
    shutil.rmtree(split_folder / "train/disc")
    kinds = {(found.kind, found.severity) for found in check_source(str(split_folder)).findings}
    assert ("missing-in-part", ERROR) in kinds


def test_the_parts_of_a_run_are_taken_where_the_source_declares_none(folder):
    exact_copy(folder)
    check = check_source(str(folder))
    place = dict(zip(check.paths, check.sha256, strict=True))
    turned_copy(folder)
    check = check_source(str(folder))
    place = dict(zip(check.paths, check.sha256, strict=True))
    parts = dict.fromkeys(place.values(), "training") | {place["bar/two.jpg"]: "test"}
    kinds = {found.kind for found in check_source(str(folder), parts=parts).findings}
    assert kinds == {"exact-copy", "near-copy-across-parts"} | ({"missing-in-part"} & kinds)


# --- CSV ---


def csv_set(folder, extra=(), header=("path", "label", "split", "group")):
    rows = [
        (f"{kind}/{number}.png", kind, "train" if number < 8 else "test", f"{kind}{number}")
        for kind in ("bar", "disc")
        for number in range(12)
    ]
    file = folder / "labels.csv"
    write_csv(file, [header, *rows, *extra])
    return file


CSV_PLANTS = {
    "missing-file": (("bar/77.png", "bar", "train", "x"), "bar/77.png"),
    "csv-row": (("../outside.png", "bar", "train", "x"), "../outside.png"),
    "listed-twice": (("bar/0.png", "disc", "train", "bar0"), "bar/0.png"),
    "group-across-parts": (("extra.png", "bar", "test", "bar0"), "extra.png"),
}


def test_a_clean_csv_has_no_findings(folder):
    assert check_source(str(csv_set(folder))).findings == ()


@pytest.mark.parametrize("kind", CSV_PLANTS)
def test_a_planted_line_is_found_and_named(kind, folder):
    row, path = CSV_PLANTS[kind]
    save(folder, "extra.png", draw_image(0))
    check = check_source(str(csv_set(folder, [row])))
    found = next(found for found in check.findings if found.kind == kind)
    assert path in found.paths
    assert found.severity == ERROR
    assert len(check.paths) in {24, 25}  # the other lines are checked all the same
    assert {one.kind for one in check.findings} == {kind}


def test_all_bad_lines_are_named_not_only_the_first(folder):
    rows = [
        ("bar/70.png", "bar", "train", ""),
        ("bar/71.png", "", "train", ""),
        ("disc/0.png", "disc", "tent", ""),
    ]
    findings = check_source(str(csv_set(folder, rows))).findings
    assert [(f.kind, f.paths) for f in findings] == [
        ("missing-file", ("bar/70.png",)),
        ("csv-row", ("bar/71.png",)),
        ("csv-row", ("disc/0.png",)),
        ("listed-twice", ("disc/0.png",)),
    ]  # fmt: skip
    assert findings[1].sentence.endswith("line 27 lacks a label.")


# --- groups ---


def test_near_copies_of_one_group_are_expected(folder):
    save(folder, "bar/B7_1.png", smooth(1))
    save(folder, "bar/UB7_1.jpg", smooth(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=80)
    (found,) = check_source(str(folder)).findings
    assert found.kind == "turned-copy"
    assert "bar/UB7_1.jpg is bar/B7_1.png mirrored left-right" in found.sentence
    assert check_source(str(folder), group=r"(B7_1|\w+/\d+)").findings == ()


def test_the_remedy_names_the_group_that_names_tell(folder):
    for number in range(8):
        save(folder, f"bar/B7_{number}.png", smooth(number))
        save(folder, f"bar/UB7_{number}.png", smooth(number).rotate(180))
    findings = check_source(str(folder)).findings
    assert {found.kind for found in findings} == {"turned-copy"}
    assert {found.remedy for found in findings} == {
        r"Keep them together: --group '.*?(\d+_\d+)|.+' does so for 8 of 8 families."
    }
    assert check_source(str(folder), group=r".*?(\d+_\d+)|.+").findings == ()


def scheme(kind, scan, view):
    """Names of many schemes, of which the expected group is the scan."""
    return {
        "IM-0172-0001": f"IM-{scan:04}-{view:04}.png",
        "patient3_view1": f"patient{scan}_view{view}.png",
        "scan": f"{kind}{scan:03}_{'abcd'[view]}.png",
        "BloodImage": f"{'UPDN'[view]}B{scan}_{scan + 40}.png",
        "counter": f"{scan * 4 + view}.png",
    }


@pytest.mark.parametrize("name", ["IM-0172-0001", "patient3_view1", "scan", "BloodImage", "counter"])
def test_a_proposed_group_keeps_scans_together_and_nothing_else(folder, name):
    """Each scan has four files, two of which look the same; 12 scans of one class, 12 of another."""
    scan_of = {}
    for file in folder.glob("*/*.png"):
        file.unlink()
    for kind, base in (("bar", 0), ("disc", 100)):
        for scan in range(base, base + 12):
            for view in range(4):
                place = f"{kind}/{scheme(kind, scan, view)[name]}"
                scan_of[place] = scan
                save(folder, place, smooth(scan * 10 + (0 if view < 2 else view)).rotate(180 * (view == 1)))
    remedies = {f.remedy for f in check_source(str(folder)).findings if f.kind == "turned-copy"}
    (remedy,) = remedies
    if name == "counter":
        assert "cannot be told from these names" in remedy
        return
    pattern = re.search("--group '(.*?)' does", remedy)[1]
    found = {path: re.search(pattern, path) for path in scan_of}
    groups = {path: next((g for g in m.groups() if g), m[0]) for path, m in found.items()}
    for path, scan in scan_of.items():
        assert {scan_of[other] for other in groups if groups[other] == groups[path]} == {scan}


def test_a_image_number_is_no_group(folder):
    """IM-0172-0001.jpeg: two views look alike across patients by chance; the view's number groups nothing."""
    for patient in range(20):
        for view in range(3):
            save(folder, f"bar/IM-{patient:04}-{view:04}.png", smooth(patient * 7 + view))
    save(folder, "bar/IM-0050-0001.png", smooth(1).rotate(180))
    (found,) = [f for f in check_source(str(folder)).findings if f.kind == "turned-copy"]
    assert "cannot be told from these names" in found.remedy


# --- boxes ---


def boxes_set(root, extra=()):
    rows = [("image", "left", "top", "right", "bottom", "class")]
    for number in range(12):
        save(root, f"images/{number}.png", draw(number % 3, number))
        rows.append((f"images/{number}.png", 5, 5, 30, 30, "gun"))
        rows.append((f"images/{number}.png", 1, 2, 9, 12, "knife"))
    write_csv(root / "boxes.csv", [*rows, *extra])
    return root


def box(*values, name="gun", image="images/0.png"):
    return lambda root: boxes_set(root, [(image, *values, name)])


def unlabelled(root):
    boxes_set(root)
    save(root, "images/new.png", draw_image(0))


def unreadable_annotations(root):
    boxes_set(root)
    (root / "boxes.csv").write_text("image,left\n")


def spelled_classes(root):
    boxes_set(root, [(f"images/{n}.png", 3, 3, 20, 20, "Gun ") for n in range(12)])


VOC = """<annotation><filename>{name}</filename><size><width>{width}</width><height>40</height></size>
<object><name>gun</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def voc_set(root, width=40, missing=False):
    for number in range(12):
        save(root, f"images/{number}.png", draw(number % 3, number))
        text = VOC.format(name=f"{number}.png", width=width if number == 3 else 40)
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{number}.xml").write_text(text)
    if missing:
        (root / "images/3.png").unlink()


def yolo_beyond_names(root):
    for number in range(12):
        save(root, f"images/{number}.png", draw(number % 3, number))
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{number}.txt").write_text(f"{5 if number == 3 else 0} 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("names: [gun]\ntrain: images\n")


def coco_masks(outline, size=40, **more):
    """Twelve images with one box each, the fourth of this outline."""

    def plant(root):
        images, annotations = [], []
        for number in range(12):
            save(root, f"images/{number}.png", draw(number % 3, number))
            images.append({"id": number, "file_name": f"{number}.png", "width": size, "height": size})
            ring = [[5, 5, 30, 5, 30, 30, 5, 30]]
            one = {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [5, 5, 25, 25],
                "segmentation": ring,
            }
            annotations.append(one if number != 3 else {**one, "segmentation": outline, **more})
        whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "gun"}]}
        (root / "coco.json").write_text(json.dumps(whole))

    return plant


def mask_images(values=None, file="masks/3.png"):
    """Twelve images with index images of two objects, and one file of these values."""

    def plant(root):
        for number in range(12):
            save(root, f"images/{number}.png", draw(number % 3, number))
            own = np.zeros((40, 40), np.uint8)
            own[3:10, 5:30], own[20:35, 10:20] = 1, 2
            save(root, f"masks/{number}.png", Image.fromarray(own))
        if values is not None:
            shutil.rmtree(root / "masks/3", ignore_errors=True)
            (root / "masks/3.png").unlink()
            save(root, file, Image.fromarray(values))

    return plant


def patch(side=40, value=1, rows=slice(3, 10), columns=slice(5, 30)):
    values = np.zeros((side, side), np.uint8)
    values[rows, columns] = value
    return values


def crowded():
    """All values that 8 bits have, of which 255 is void."""
    return np.arange(1600).reshape(40, 40).astype(np.uint8)


BOX_PLANTS = {
    "mask-outline": (coco_masks([[5, 5, 30, 30]]), "coco.json annotation 3"),
    "mask-length": (coco_masks({"size": [40, 40], "counts": [10, 20]}), "coco.json annotation 3"),
    "mask-size": (mask_images(patch(30)), "masks/3.png"),
    "mask-outside": (
        coco_masks([[5, 5, 30, 5, 30, 44, 5, 44]], bbox=[5, 5, 25, 35]),
        "coco.json annotation 3",
    ),
    "mask-empty": (coco_masks({"size": [40, 40], "counts": [1600]}), "coco.json annotation 3"),
    "mask-pixel": (mask_images(patch(rows=7, columns=9)), "masks/3.png object 1"),
    "mask-box": (coco_masks([[5, 5, 20, 5, 20, 30, 5, 30]]), "coco.json annotation 3"),
    "mask-values": (mask_images(crowded()), "masks/3.png"),
    "out-of-image": (box(20, 20, 60, 30), "boxes.csv"),
    "zero-size": (box(7, 7, 7, 20), "boxes.csv"),
    "inverted": (box(30, 8, 10, 20), "boxes.csv"),
    "duplicate": (box(5, 5, 30, 30), "boxes.csv"),
    "normalised": (box(0.1, 0.1, 0.5, 0.6), "boxes.csv"),
    "no-number": (box("one", 5, 9, 9), "boxes.csv"),
    "missing-image": (box(5, 5, 9, 9, image="images/77.png"), "boxes.csv"),
    "unlabelled-image": (unlabelled, "images/new.png"),
    "image-size": (lambda root: voc_set(root, width=80), "3.xml"),
    "unknown-class": (yolo_beyond_names, "3.txt"),
    "class-names": (spelled_classes, "class names"),
    "annotations": (unreadable_annotations, "bags"),
}


@pytest.mark.parametrize("make", [boxes_set, voc_set, coco_masks([[5, 5, 30, 5, 30, 30, 5, 30]])])
def test_a_clean_set_of_boxes_has_no_findings(make, tmp_path):
    make(tmp_path / "bags")
    check = check_source(str(tmp_path / "bags"))
    assert check.findings == ()
    assert check.form == "boxes"
    assert check.counts["gun"] == len(check.paths) == 12


@pytest.mark.parametrize("kind", BOX_PLANTS)
def test_a_planted_box_fault_is_found_and_named(kind, tmp_path):
    plant, where = BOX_PLANTS[kind]
    plant(tmp_path / "bags")
    findings = [f for f in check_source(str(tmp_path / "bags")).findings if f.severity == ERROR]
    assert kind in {found.kind for found in findings}
    found = next(found for found in findings if found.kind == kind)
    assert where in found.paths[0]
    assert {one.kind for one in findings} <= {kind, "one-class"}


def absent_image_in_a_list(root):
    yolo_lists(root, "images/99.png\n")


def yolo_lists(root, more=""):
    boxes_set(root)
    (root / "boxes.csv").unlink()
    (root / "labels").mkdir()
    for number in range(12):
        (root / f"labels/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("names: [gun, knife]\ntrain: train.txt\nval: val.txt\ntest: test.txt\n")
    for part, numbers in {"train": range(8), "val": (8, 9), "test": (10, 11)}.items():
        (root / f"{part}.txt").write_text("".join(f"images/{number}.png\n" for number in numbers) + more)
        more = ""


def part_without_list(root):
    yolo_lists(root)
    (root / "data.yaml").write_text("names: [gun, knife]\ntrain: train.txt\nval: val.txt\n")


@pytest.mark.parametrize(
    ("plant", "kind", "where", "said"),
    [
        (coco_masks({"size": [30, 40], "counts": [100, 9, 1091]}), "mask-size", "annotation 3", "40x30 pixels, and its image 40x40"),
        (coco_masks([[50, 5, 60, 5, 60, 30]]), "mask-outside", "annotation 3", "lies outside its image of 40x40"),
        (coco_masks({"size": [40, 40], "counts": [3, 1, 1596]}), "mask-pixel", "annotation 3", "its mask is one pixel"),
        (coco_masks({"size": [40, 40], "counts": [3]}, bbox=None), "no-number", "annotation 3", "has 3 pixels"),
        (mask_images(patch(value=255)), "mask-values", "masks/3.png", "a mask of yes and no"),
        (mask_images(patch(value=0), "masks/3/1.png"), "mask-empty", "masks/3/1.png", "is all 0"),
        (mask_images(crowded(), "masks/3/1.png"), "mask-values", "masks/3/1.png", "has 256 values"),
        (mask_images(patch(30), "masks/3/1.png"), "mask-size", "masks/3", "is of 30x30 pixels, and 3.png has 40x40"),
        (mask_images(np.zeros((40, 40, 3), np.uint8)), "mask-outline", "masks/3.png", "has colours (RGB)"),
    ],
)  # fmt: skip
def test_a_mask_s_fault_is_named_with_its_file_and_clip_goes_on_without(plant, kind, where, said, tmp_path):
    plant(tmp_path / "bags")
    check = check_source(str(tmp_path / "bags"))
    (found,) = [one for one in check.findings if one.severity == ERROR]
    assert (found.kind, said in found.sentence, where in found.sentence) == (kind, True, True), found.sentence
    assert "--faults clip" in found.remedy
    with pytest.raises(DataFault, match=f"1 fault \\(1 {kind}\\)"):
        read_boxes(tmp_path / "bags", masks=True)
    mended = read_boxes(tmp_path / "bags", masks=True, faults="clip")
    assert sum(mask is not None for some in mended.masks for mask in some) in {11, 22}
    assert len(mended.told) == 1


def test_masks_that_are_right_but_odd_are_worth_a_word(tmp_path):
    corner = np.zeros((40, 40), np.uint8)
    corner[5:30, 5:30] = 1
    rle = encode(corner)
    coco_masks(rle.coco, iscrowd=1)(tmp_path / "one")
    (found,) = check_source(str(tmp_path / "one")).findings
    assert (found.kind, found.severity, found.paths) == ("mask-crowd", WARNING, ("3.png",))
    coco_masks(None)(tmp_path / "two")
    (found,) = check_source(str(tmp_path / "two")).findings
    assert (found.kind, found.severity, found.paths) == ("mask-missing", WARNING, ("3.png",))
    mask_images(patch(), "masks/3/1.png")(tmp_path / "three")
    save(tmp_path / "three", "masks/3/2.png", Image.fromarray(patch(rows=slice(9, 20))))
    (found,) = check_source(str(tmp_path / "three")).findings
    assert (found.kind, found.severity, found.paths) == ("mask-overlap", WARNING, ("3.png",))
    assert found.sentence.endswith("has 1 image with masks that share pixels: 3.png.")


def test_what_is_wrong_with_masks_does_not_concern_those_who_learn_boxes(tmp_path):
    coco_masks([[5, 5, 30, 30]])(tmp_path / "bags")
    boxes = read_boxes(tmp_path / "bags")
    assert boxes.masks is None
    assert len(boxes) == 12


BOX_REMARKS = {"layout": absent_image_in_a_list, "undeclared-part": part_without_list}


@pytest.mark.parametrize("kind", BOX_REMARKS)
def test_a_remark_on_the_layout_is_no_error(kind, tmp_path):
    BOX_REMARKS[kind](tmp_path / "bags")
    found = {(f.kind, f.severity) for f in check_source(str(tmp_path / "bags")).findings}
    assert found == {(kind, WARNING), ("empty-class", WARNING)}


def test_a_class_without_boxes_is_fine_for_recipes_and_so_for_check(tmp_path):
    yolo_lists(tmp_path / "bags")
    (found,) = check_source(str(tmp_path / "bags")).findings
    assert (found.kind, found.severity, found.sentence) == (
        "empty-class",
        WARNING,
        "Class knife has no boxes.",
    )
    split = split_boxes(read_boxes(tmp_path / "bags"))
    assert [len(split.indices(part)) for part in ("training", "validation", "test")] == [8, 2, 2]


def test_remedies_for_images_of_boxes_name_no_option_that_their_recipes_lack(tmp_path):
    root = boxes_set(tmp_path / "bags")
    (root / "images/0.png").write_bytes(b"")
    (found,) = check_source(str(root)).findings
    assert found.remedy == "Get the file again from where it came, or remove it and its annotation."
    rows = (root / "boxes.csv").read_text().splitlines(keepends=True)
    (root / "boxes.csv").write_text("".join(row for row in rows if not row.startswith("images/0.png")))
    (root / "images/0.png").unlink()
    assert check_source(str(root)).findings == ()


def test_images_of_boxes_are_looked_at_like_others(tmp_path):
    root = boxes_set(tmp_path / "bags")
    (root / "images/0.png").write_bytes(b"")
    shutil.copy(root / "images/1.png", root / "images/2.png")
    kinds = {(found.kind, found.paths) for found in check_source(str(root)).findings}
    assert kinds == {("zero-byte", ("images/0.png",)), ("exact-copy", ("images/1.png", "images/2.png"))}


def test_images_without_boxes_may_be_negative(tmp_path):
    unlabelled(tmp_path / "bags")
    assert check_source(str(tmp_path / "bags"), unlabelled="negative").findings == ()


# --- all of them ---


def test_every_kind_of_the_table_is_planted_here():
    planted = {*FOLDER_PLANTS, *SPLIT_PLANTS, *CSV_PLANTS, *BOX_PLANTS, *BOX_REMARKS}
    elsewhere = {"label-error"}  # tests/data/checks/test_label_errors.py
    elsewhere |= {
        "image-id",
        "turned-boxes",
        "scaled-boxes",
        "either-form",
        "tiny-boxes",
    }  # test_box_contents
    elsewhere |= {"mask-overlap", "mask-crowd", "mask-missing"}  # which are no errors
    elsewhere |= {"layout", "undeclared-part"}  # of images in other places, and of parts
    never_shown = {"unreadable-image"}  # the file's own fault stands in its place
    assert planted | elsewhere | never_shown == set(KINDS)
    assert len(planted) > 25


def test_nothing_to_check_is_a_fault_not_a_finding(tmp_path):
    with pytest.raises(DataFault, match="does not exist"):
        check_source(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFault, match="no class folders and no images"):
        check_source(str(tmp_path / "empty"))


@pytest.mark.parametrize("make", ["folder", "split_folder"])
def test_the_listing_is_what_recipes_read(make, request):
    root = request.getfixturevalue(make)
    (root / "README.txt").write_text("Not an image.")
    (root / "_scratch").mkdir()
    (root / ".hidden").mkdir()
    same_listing(str(root))


def same_listing(source):
    listed, read = list_source(source).images, read_images(source)
    assert listed.paths == read.paths
    assert listed.labels.tolist() == read.labels.tolist()
    assert listed.class_names == read.class_names
    assert listed.parts == read.parts
    assert listed.groups == read.groups


@pytest.mark.real
@pytest.mark.parametrize("name", ["clothing", "mnist2000", "bccd", "orl-faces", "cats-dogs", "sixray"])
def test_clean_real_sets_have_no_errors(name, real_data):
    assert check_source(str(real_data / name)).errors == 0


@pytest.mark.real
@pytest.mark.parametrize("name", ["clothing", "threats", "eyes-noses/labels.csv"])
def test_the_listing_of_real_sets_is_what_recipes_read(name, real_data):
    same_listing(str(real_data / name))


@pytest.mark.real
def test_the_real_mirrored_copies_are_found(real_data):
    findings = check_source(str(real_data / "fishbones")).findings
    assert {found.kind for found in findings} == {"turned-copy"}
    groups = [{path.split("N")[-1] for path in found.paths} for found in findings]
    assert all(len(group) == 1 for group in groups)  # never two captures taken for one
    assert sum(len(found.paths) == 4 for found in findings) >= 145  # of 160 captures with four images each
