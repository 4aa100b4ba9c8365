"""Masks are read from every form that has them, and written so that they read the same, pixel by pixel."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes, without_any
from tlkit.data.boxes.formats.detect import formats_in
from tlkit.data.boxes.formats.index_images import mask_folders
from tlkit.data.boxes.formats.writers import difference, write_boxes
from tlkit.data.boxes.masks.rle import decode, encode, from_rings
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault

SIZE = (30, 20)  # width and height
ONE = np.zeros((20, 30), bool)
ONE[2:9, 3:12] = True
ONE[4:6, 5:7] = False
TWO = np.zeros((20, 30), bool)
TWO[10:18, 8:28] = True
TWO[11:13, 9:20] = False
OVER = np.zeros((20, 30), bool)
OVER[5:14, 6:24] = True
RING = [2, 3, 20, 4, 25, 15, 6.5, 12]


def image(path, pixels=None, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    own = np.random.default_rng(len(str(path))).integers(0, 256, SIZE[::-1], np.uint8)
    Image.fromarray(own if pixels is None else pixels).save(path, **how)


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def indices(*values, kind=np.uint8):
    """An index image of two objects with these values."""
    found = np.zeros(SIZE[::-1], kind)
    for value, pixels in zip(values, (ONE, TWO), strict=False):
        found[pixels] = value
    return found


def got(boxes, index=0):
    """Class and pixels of each object of an image."""
    names = [boxes.class_names[k] for k in boxes.labels[index]]
    return list(zip(names, [decode(mask) for mask in boxes.masks[index]], strict=True))


def assert_is(boxes, *wanted, index=0):
    found = got(boxes, index)
    assert [name for name, _ in found] == [name for name, _ in wanted]
    for (_, pixels), (_, right) in zip(found, wanted, strict=True):
        assert np.array_equal(pixels, right)


# --- outlines ---


def test_coco_s_polygons_and_runs_are_masks_and_a_box_alone_has_none(tmp_path):
    for number in range(3):
        image(tmp_path / f"images/{number}.png")
    plain = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], OVER.ravel(order="F"), [0]])))).tolist()
    start = int(np.argmax(OVER.ravel(order="F")))
    runs = [start, *plain, OVER.size - start - sum(plain)]
    of = [
        (0, [2, 3, 23, 12], [RING], 0),
        (0, [8, 10, 20, 8], encode(TWO).coco, 0),
        (1, [6, 5, 18, 9], {"size": [20, 30], "counts": runs}, 1),
        (2, [1, 1, 5, 5], [], 0),
    ]
    annotations = [
        {"id": i, "image_id": k, "category_id": 1, "bbox": box, "segmentation": s, "iscrowd": crowd}
        for i, (k, box, s, crowd) in enumerate(of)
    ]
    images = [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 20} for n in range(3)]
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "gun"}]}
    (tmp_path / "a.json").write_text(json.dumps(whole))
    boxes = read_boxes(tmp_path, masks=True)
    assert_is(boxes, ("gun", decode(from_rings([RING], (20, 30)))), ("gun", TWO))
    assert_is(boxes, ("gun", OVER), index=1)
    assert boxes.crowd[1].tolist() == [True]
    assert boxes.masks[2] == (None,)
    assert boxes.take([2, 1]).masks == (boxes.masks[2], boxes.masks[1])
    longer = boxes.take([0]).followed_by(without_any("x", tmp_path, ["new.png"]))
    assert longer.masks == (boxes.masks[0], ())
    plain_boxes = read_boxes(tmp_path)
    assert plain_boxes.masks is None
    assert difference(plain_boxes, replace(boxes, masks=None)) is None
    assert difference(plain_boxes, boxes) == "one has masks, the other has none"


def test_labelme_s_and_via_s_polygons_are_masks_and_their_other_shapes_boxes(tmp_path):
    points = [[x, y] for x, y in zip(RING[::2], RING[1::2], strict=True)]
    image(tmp_path / "one/1.png")
    shapes = [
        {"label": "gun", "points": points, "shape_type": "polygon"},
        {"label": "gun", "points": [[1, 1], [5, 6]], "shape_type": "rectangle"},
    ]
    entry = {"shapes": shapes, "imagePath": "1.png", "imageHeight": 20, "imageWidth": 30}
    (tmp_path / "one/1.json").write_text(json.dumps(entry))
    image(tmp_path / "two/1.png")
    polygon = {"name": "polygon", "all_points_x": RING[::2], "all_points_y": RING[1::2]}
    ring = {"name": "circle", "cx": 9, "cy": 9, "r": 4}
    regions = [{"shape_attributes": s, "region_attributes": {"class": "gun"}} for s in (polygon, ring)]
    (tmp_path / "two/via.json").write_text(json.dumps({"1": {"filename": "1.png", "regions": regions}}))
    for folder in ("one", "two"):
        boxes = read_boxes(tmp_path / folder, masks=True)
        assert boxes.masks == ((from_rings([RING], (20, 30)), None),)


# --- mask images ---


def test_an_index_image_of_one_class(tmp_path):
    image(tmp_path / "1.jpg")
    image(tmp_path / "masks/1.png", indices(3, 254))
    boxes = read_boxes(tmp_path, masks=True)
    assert formats_in(tmp_path) == ["masks"]
    assert_is(boxes, ("object", ONE), ("object", TWO))
    assert boxes.xyxy[0].tolist() == [[3, 2, 12, 9], [8, 10, 28, 18]]
    assert boxes.box_columns["area"] == (("59.0", "138.0"),)
    assert read_boxes(tmp_path).xyxy[0].tolist() == boxes.xyxy[0].tolist()


def palette(values):
    """The same values as numbers of colours."""
    found = Image.fromarray(values).convert("P")
    found.putdata(values.ravel().tolist())
    found.putpalette([(7 * i) % 256 for i in range(768)])
    return found


@pytest.mark.parametrize(
    ("values", "void", "kind"), [((1, 255), 255, "8"), ((1, 255), 255, "P"), ((700, 65535), 65535, "16")]
)
def test_the_last_value_is_void(values, void, kind, tmp_path):
    image(tmp_path / "images/1.png")
    pixels = indices(*values, kind=np.uint16 if kind == "16" else np.uint8)
    (tmp_path / "masks").mkdir()
    (palette(pixels) if kind == "P" else Image.fromarray(pixels)).save(tmp_path / "masks/1.png")
    assert (np.asarray(Image.open(tmp_path / "masks/1.png")) == void).any()
    assert_is(read_boxes(tmp_path, masks=True), ("object", ONE))


def test_in_16_bits_255_is_an_object_and_in_4_bits_15_is_one(tmp_path):
    image(tmp_path / "images/1.png")
    image(tmp_path / "masks/1.png", indices(255, 256, kind=np.uint16))
    assert_is(read_boxes(tmp_path, masks=True), ("object", ONE), ("object", TWO))
    grey = b"".join(
        b"\0" + bytes(a << 4 | b for a, b in zip(r[::2], r[1::2], strict=True))
        for r in indices(2, 15).tolist()
    )
    (tmp_path / "masks/1.png").write_bytes(png_of_four_bits(grey))
    assert_is(read_boxes(tmp_path, masks=True), ("object", ONE), ("object", TWO))


def png_of_four_bits(rows):
    """The file of rows that begin with a 0 and have two grey levels a byte, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", *SIZE, 4, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("masks.csv", [("image", "value", "class"), ("1.png", 2, "gun"), ("1.png", 7, "knife")]),
        ("masks/classes.csv", [("filename", "Instance", "Label"), ("images/1.png", "2.0", "gun"), ("masks/1.png", "07", "knife")]),
        ("masks/1.csv", [("value", "class"), (2, "gun"), (7, "knife")]),
        ("anything.csv", [("stem", "id", "category"), (1, 2, "gun"), (1, 7, "knife")]),
    ],
)  # fmt: skip
def test_classes_stand_in_a_table_beside(file, rows, tmp_path):
    image(tmp_path / "images/1.png")
    image(tmp_path / "masks/1.png", indices(2, 7))
    table(tmp_path / file, *rows)
    assert_is(read_boxes(tmp_path, masks=True), ("gun", ONE), ("knife", TWO))


def test_a_table_at_the_top_speaks_of_the_images_in_all_parts(tmp_path):
    names = [("image", "value", "class")]
    for part, kind in (("train", "gun"), ("val", "knife")):
        image(tmp_path / f"{part}/images/1.png")
        image(tmp_path / f"{part}/masks/1.png", indices(2))
        names.append((f"{part}/images/1.png", 2, kind))
    table(tmp_path / "objects.csv", *names)
    boxes = read_boxes(tmp_path, masks=True)
    assert [got(boxes, i)[0][0] for i in range(2)] == ["gun", "knife"]


def test_one_image_an_object_may_overlap(tmp_path):
    image(tmp_path / "1.jpg")
    for name, pixels in (("a", ONE), ("b", OVER)):
        image(tmp_path / f"masks/1/{name}.png", pixels.astype(np.uint8) * 255)
    assert_is(read_boxes(tmp_path, masks=True), ("object", ONE), ("object", OVER))
    table(tmp_path / "masks.csv", ("image", "mask", "class"), ("1", "a.png", "gun"), ("1", "b", "knife"))
    assert_is(read_boxes(tmp_path, masks=True), ("gun", ONE), ("knife", OVER))
    (tmp_path / "masks.csv").unlink()
    table(tmp_path / "masks/1.csv", ("file", "class"), ("b.png", "knife"), ("a.png", "gun"))
    assert_is(read_boxes(tmp_path, masks=True), ("gun", ONE), ("knife", OVER))


def test_an_image_of_nothing_but_background_is_negative_and_one_without_mask_unlabelled(tmp_path):
    for number in range(3):
        image(tmp_path / f"images/{number}.png")
    image(tmp_path / "masks/0.png", indices(1))
    image(tmp_path / "masks/1.png", indices())
    with pytest.raises(DataFault, match="1 unlabelled-image"):
        read_boxes(tmp_path)
    boxes = read_boxes(tmp_path, unlabelled="skip", masks=True)
    assert boxes.paths == ("0.png", "1.png")
    assert [len(some) for some in boxes.masks] == [1, 0]


def test_parts_are_folders_and_objects_with_one_box_are_two(tmp_path):
    cross = np.zeros(SIZE[::-1], np.uint8)
    cross[2, 3] = cross[7, 11] = 1
    cross[2, 11] = cross[7, 3] = 2
    for part in ("train", "val"):
        image(tmp_path / f"{part}/images/1.jpg")
        image(tmp_path / f"{part}/masks/1.png", cross)
    boxes = read_boxes(tmp_path, masks=True)
    assert boxes.paths == ("train/images/1.jpg", "val/images/1.jpg")
    assert boxes.parts == ("training", "validation")
    assert boxes.xyxy[0].tolist() == [[3, 2, 12, 8]] * 2, "and they are no duplicates"


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_of_an_image_that_exif_turns_are_of_either_form(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image(tmp_path / "images/1.jpg", exif=exif)
    shown = np.rot90(indices(1, 2), {3: 2, 6: -1}[orientation])
    image(tmp_path / "masks/1.png", indices(1, 2) if orientation == 6 else shown)
    boxes = read_boxes(tmp_path, masks=True)
    assert_is(boxes, *(("object", shown == value) for value in (1, 2)))
    image(tmp_path / "masks/1.png", np.ascontiguousarray(shown))
    again = read_boxes(tmp_path, masks=True)
    assert again.masks == boxes.masks
    assert again.xyxy[0].tolist() == boxes.xyxy[0].tolist()


def test_a_class_called_masks_stays_one_and_other_formats_keep_theirs(tmp_path):
    for kind in ("masks", "faces"):
        for number in range(12):
            image(tmp_path / f"one/{kind}/{number}.png")
    assert mask_folders(tmp_path / "one") == []
    assert read_images(str(tmp_path / "one")).class_names == ("faces", "masks")
    image(tmp_path / "two/images/1.png")
    image(tmp_path / "two/masks/1.png", indices(1))
    table(
        tmp_path / "two/boxes.csv",
        ("image", "left", "top", "right", "bottom", "class"),
        ("images/1.png", 1, 2, 3, 4, "gun"),
    )
    assert formats_in(tmp_path / "two") == ["boxes.csv"]
    assert read_boxes(tmp_path / "two", masks=True, unlabelled="skip").masks is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: image(root / "masks/2.png", indices(1)), "masks/2.png: 2 does not exist"),
        (lambda root: image(root / "images/1.jpg"), "could be images/1.jpg or images/1.png"),
        (lambda root: image(root / "masks/1/0.png", ONE.astype(np.uint8)), "has masks in masks/1.png too"),
        (lambda root: table(root / "masks.csv", ("image", "value", "class"), (1, 1, "gun")), "masks/1.png object 2: it has no row"),
        (lambda root: table(root / "masks.csv", ("image", "value", "class"), *((1, v, "gun") for v in (1, 2, 300))),
         "has 2 objects, and the CSV of classes names object 300 too"),
        (lambda root: table(root / "masks.csv", ("image", "value", "class"), (1, 1, "gun"), (1, 1, "knife")), "object 1 of 1 has another class above"),
        (lambda root: (root / "classes.txt").write_text("gun\nknife\n"), "class object is not in classes.txt"),
        (lambda root: shutil.move(root / "masks/1.png", root / "masks/1.jpg"), "is JPG, which changes values"),
        (lambda root: (root / "masks/1.png").write_bytes(b"\x89PNG"), "is no readable mask image"),
        (lambda root: image(root / "masks/1.png", np.ones(SIZE[::-1], np.float32), format="TIFF"), "values (F) that are not"),
    ],
)  # fmt: skip
def test_what_has_no_one_meaning_is_named(spoil, said, tmp_path):
    image(tmp_path / "images/1.png")
    image(tmp_path / "masks/1.png", indices(1, 2))
    spoil(tmp_path)
    with pytest.raises(DataFault) as fault:
        read_boxes(tmp_path)
    assert said in str(fault.value)


# --- writing ---


@pytest.fixture
def source(tmp_path):
    """Five images: two objects that touch none, objects that overlap, none, a part, facts, a crowd, a nested path."""
    root = tmp_path / "source"
    for name in ("a", "b", "c", "deep/d"):
        image(root / f"images/{name}.png")
    image(root / "masks/a.png", indices(1, 2))
    image(root / "masks/b/1.png", ONE.astype(np.uint8))
    image(root / "masks/b/2.png", OVER.astype(np.uint8))
    image(root / "masks/c.png", indices())
    image(root / "masks/deep/d.png", indices(300, 9, kind=np.uint16))
    table(
        root / "masks.csv",
        ("image", "value", "class", "crowd", "difficult", "shade", "box"),
        ("a.png", 1, "gun", 0, 0, "dark", ""),
        ("a.png", 2, "knife", 1, 0, "", "8.25 10 28 18.125"),
        ("b.png", 1, "gun", 0, 0, "", ""),
        ("b.png", 2, "gun", 0, 1, "", ""),
        ("deep/d.png", 9, "gun", 0, 0, "", ""),
        ("deep/d.png", 300, "knife", 0, 0, "", ""),
    )
    table(
        root / "groups.csv", ("image", "group", "split"), ("a.png", "g", "training"), ("b.png", "h", "test")
    )
    (root / "classes.txt").write_text("knife\nrazor\ngun\n")
    return root


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv", "masks"])
def test_masks_survive_every_form_to_the_last_pixel(source, form, tmp_path):
    boxes = read_boxes(source, masks=True)
    assert boxes.class_names == ("knife", "razor", "gun")
    assert boxes.xyxy[0].tolist() == [[3, 2, 12, 9], [8.25, 10, 28, 18.125]]
    write_boxes(boxes, tmp_path / form, form)
    again = read_boxes(tmp_path / form, masks=True)
    assert difference(boxes, again) is None
    assert again.masks == boxes.masks
    write_boxes(again, tmp_path / "back", "masks")
    assert difference(boxes, read_boxes(tmp_path / "back", masks=True)) is None
    files = {
        path.relative_to(tmp_path / "back/masks").as_posix()
        for path in (tmp_path / "back/masks").rglob("*.png")
    }
    assert files == {"a.png", "b/00001.png", "b/00002.png", "c.png", "deep/d.png"}


def test_what_has_no_area_has_none_as_mask_images(tmp_path):
    """A box beside its mask, as of simulated bags: pixels are counted only where no table of ours speaks."""
    image(tmp_path / "one/1.png")
    table(
        tmp_path / "one/boxes.csv",
        ("image", "left", "top", "right", "bottom", "class"),
        ("1.png", 3, 2, 12, 9, "gun"),
    )
    counts = encode(ONE).counts.decode()
    table(
        tmp_path / "one/rle.csv", ("image", "box", "height", "width", "counts"), ("1.png", 0, 20, 30, counts)
    )
    boxes = read_boxes(tmp_path / "one", masks=True)
    assert boxes.box_columns == {}
    for form in ("masks", "coco"):
        write_boxes(boxes, tmp_path / form, form)
        assert difference(boxes, read_boxes(tmp_path / form, masks=True)) is None


def test_more_objects_than_8_bits_hold_are_written_with_16(tmp_path):
    values = np.zeros((40, 40), np.uint16)
    values[::2, ::2] = np.arange(1, 401).reshape(20, 20)
    values[1::2, ::2] = values[::2, ::2]
    values[-1, -1] = 65535
    image(tmp_path / "one/1.png", np.zeros((40, 40), np.uint8))
    image(tmp_path / "one/masks/1.png", values)
    boxes = read_boxes(tmp_path / "one", masks=True)
    assert len(boxes.masks[0]) == 400
    write_boxes(boxes, tmp_path / "two", "masks")
    written = np.asarray(Image.open(tmp_path / "two/masks/1.png"))
    values[-1, -1] = 0
    assert np.array_equal(written, values)


def test_what_mask_images_cannot_say_is_refused(source, tmp_path):
    boxes = read_boxes(source, masks=True)
    without = replace(boxes, masks=(*boxes.masks[:-1], (None, boxes.masks[-1][1])))
    with pytest.raises(DataFault, match="1 of 2 boxes of deep/d.png have no mask") as fault:
        write_boxes(without, tmp_path / "out", "masks")
    assert "--to coco" in fault.value.remedy
    shutil.copytree(source / "images/deep", source / "images/a")
    nested = replace(boxes, paths=(*boxes.paths[:-1], "a/d.png"))
    with pytest.raises(DataFault, match="a/d.png lies in a folder with the name of another image"):
        write_boxes(nested, tmp_path / "out", "masks")


def test_a_table_of_runs_that_fits_no_box_is_named(source, tmp_path):
    write_boxes(read_boxes(source, masks=True), tmp_path / "out", "csv")
    file = tmp_path / "out/rle.csv"
    text = file.read_text()
    file.write_text(text.replace("a.png,1,", "a.png,7,"))
    assert read_boxes(tmp_path / "out").masks is None, "who learns boxes does not open it"
    with pytest.raises(DataFault, match=r"rle.csv line 3: a.png has no box 7"):
        read_boxes(tmp_path / "out", masks=True)
    file.write_text(text.replace("height", "rows"))
    with pytest.raises(DataFault, match=r"rle.csv has no column height"):
        read_boxes(tmp_path / "out", masks=True)
    file.write_text(text.replace("a.png,0,20,30,", "a.png,0,20,31,"))
    with pytest.raises(DataFault, match="1 mask-length"):
        read_boxes(tmp_path / "out", masks=True)


@pytest.mark.real
def test_the_nuclei_are_read_and_written_as_they_are(real_data, tmp_path):
    source = real_data / "nuclei"
    boxes = read_boxes(source, masks=True)
    assert (len(boxes), sum(map(len, boxes.masks))) == (60, 1576)
    for form in ("coco", "masks"):
        write_boxes(boxes, tmp_path / form, form)
    for path in boxes.paths:
        same = [np.asarray(Image.open(root / "masks" / path)) for root in (source, tmp_path / "masks")]
        assert np.array_equal(*same)
