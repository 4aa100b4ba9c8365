"""Pictures with boxes drawn, and the numbers beside them: what is written is read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.formats.coco import read_coco_ids
from tlkit.engine.reporting.style import COLOURS
from tlkit.errors import RunFailed
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.reporting.drawing import OnImage, draw_boxes
from tlkit.tasks.detection.reporting.files import Numbers, drawn_names, framed, write_found

CLASSES = ("gun", "knife")
GREY = np.full((90, 120, 3), 128, np.uint8)


def found_in(path, boxes=(), scores=(), labels=()):
    return Detections(
        np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels, np.int32), path
    )


def drawn(pixels, one):
    image = Image.fromarray(pixels)
    draw_boxes(OnImage(image), framed(one, CLASSES))
    return np.asarray(image)


def opened(file):
    """A picture and nothing left open."""
    with Image.open(file) as image:
        image.load()
        return image.copy()


def test_names_follow_the_folders_and_never_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert drawn_names(["x/1.png"]) == ["1.png"]
    assert drawn_names(["x/a/1.png", "x/b/1.png", "x/b/2.jpg"]) == ["a/1.png", "b/1.png", "b/2.jpg"]
    assert drawn_names(["x/1.png", "x/a/1.png"]) == ["1.png", "a/1.png"]
    assert drawn_names(["x/1.bmp", "x/1.png", "x/1.tif"]) == ["1.bmp.png", "1.png", "1.tif.png"]
    assert drawn_names(["x/1.bmp", "x/1.bmp.png"]) == ["1.bmp.png", "1.bmp-2.png"]
    assert drawn_names(["x/A.png", "x/a.png"]) == ["A.png", "a-2.png"]  # one file on some systems
    assert drawn_names(["x/../y/1.png", "x/1.png"]) == ["y/1.png", "x/1.png"]
    assert drawn_names([]) == []


def test_a_frame_stands_around_the_pixels_of_its_box():
    one = found_in("a.png", [[30.0, 40.0, 60.0, 70.0]], [0.75], [1])
    pixels = drawn(GREY, one)
    colour = ImageColor.getrgb(COLOURS[1])
    assert (pixels[40:70, 30:60] == 128).all()  # nothing of the object is hidden
    for row, column in ((70, 45), (55, 29), (55, 60), (70, 29)):
        assert tuple(pixels[row, column]) == colour
    assert (pixels[73:] == 128).all()
    assert (pixels[:, 64:90][50:] == 128).all()
    plate = (pixels[25:39, 29:60] == colour).all(-1)
    assert plate.mean() > 0.4  # the name's, above the box


def test_the_surest_lies_on_top_and_all_stays_inside():
    same = [[0.0, 0.0, 120.0, 90.0]] * 2
    one = found_in("a.png", same, [0.9, 0.2], [0, 1])
    pixels = drawn(GREY, one)
    assert pixels.shape == (90, 120, 3)
    assert tuple(pixels[60, 0]) == ImageColor.getrgb(COLOURS[0])
    assert tuple(pixels[89, 119]) == ImageColor.getrgb(COLOURS[0])
    tiny = drawn(np.zeros((4, 4, 3), np.uint8), found_in("b", [[1.0, 1.0, 1.4, 1.4]], [1.0], [0]))
    assert tiny.shape == (4, 4, 3)


@pytest.fixture
def files(tmp_path):
    """A turned JPEG, a 16-bit PNG and a BMP, which is no format to draw into."""
    (tmp_path / "in").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / "in" / "turned.jpg", exif=turned)
    Image.fromarray(np.full((50, 70), 32896, np.uint16)).save(tmp_path / "in" / "deep.png")
    Image.fromarray(GREY).save(tmp_path / "in" / "plain.bmp")
    return [(tmp_path / "in" / name).as_posix() for name in ("turned.jpg", "deep.png", "plain.bmp")]


def test_what_is_written(files, tmp_path):
    found = [
        found_in(files[0], [[1.5, 100.0, 20.25, 119.0], [2.0, 2.0, 8.0, 8.0]], [0.9, 0.5], [1, 0]),
        found_in(files[1]),
        found_in(files[2], [[0.0, 0.0, 120.0, 90.0]], [0.25], [0]),
    ]
    out, done = tmp_path / "out", []
    write_found(found, CLASSES, out, {"description": "a test"}, done.append)
    assert done == [1, 2, 3]
    assert sorted(file.name for file in out.iterdir()) == [
        "boxes.csv", "classes.txt", "deep.png", "detections.json", "images.json", "plain.bmp.png", "turned.jpg",
    ]  # fmt: skip
    assert opened(out / "turned.jpg").size == (90, 120)  # upright, as boxes count its pixels
    with Image.open(out / "turned.jpg") as image:
        assert not image.getexif()
    assert (np.asarray(opened(out / "deep.png")) == 128).all()
    with (out / "boxes.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["image", "left", "top", "right", "bottom", "class", "score", "original"],
        ["turned.jpg", "1.5", "100.0", "20.25", "119.0", "knife", "0.9", files[0]],
        ["turned.jpg", "2.0", "2.0", "8.0", "8.0", "gun", "0.5", files[0]],
        ["deep.png", "", "", "", "", "", "", files[1]],
        ["plain.bmp.png", "0.0", "0.0", "120.0", "90.0", "gun", "0.25", files[2]],
    ]
    whole = json.loads((out / "images.json").read_text())
    assert whole["info"] == {"description": "a test"}
    assert whole["categories"] == [{"id": 1, "name": "gun"}, {"id": 2, "name": "knife"}]
    assert [(image["id"], image["file_name"], image["width"], image["height"]) for image in whole["images"]] == [
        (1, "turned.jpg", 90, 120), (2, "deep.png", 70, 50), (3, "plain.bmp.png", 120, 90),
    ]  # fmt: skip
    assert whole["annotations"] == []
    results = json.loads((out / "detections.json").read_text())
    assert results[0] == {"image_id": 1, "category_id": 2, "bbox": [1.5, 100.0, 18.75, 19.0], "score": 0.9}
    assert [row["image_id"] for row in results] == [1, 1, 3]
    for source in (out, out / "detections.json"):
        again = read_boxes(source)
        assert (again.paths, again.class_names) == (("deep.png", "plain.bmp.png", "turned.jpg"), CLASSES)
        assert again.xyxy[2].tolist() == [[1.5, 100.0, 20.25, 119.0], [2.0, 2.0, 8.0, 8.0]]
        assert again.labels[2].tolist() == [1, 0]


def test_numbers_of_another_file(files, tmp_path, capsys):
    """A person's own COCO file numbers pictures 70 and 30, and classes 8 and 3: its truth takes the results as they are."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes = [[2.0, 2.0, 8.0, 8.0], [10.0, 10.0, 60.0, 40.0]]
    found = [found_in(files[0], boxes[:1], [0.9], [1]), found_in(files[1], boxes[1:], [0.8], [0])]
    own = {
        "images": [{"id": 70, "file_name": "turned.jpg"}, {"id": 30, "file_name": "deep.png"}],
        "categories": [{"id": 8, "name": "Gun"}, {"id": 3, "name": "knife"}],
        "annotations": [
            {"id": 1, "image_id": 70, "category_id": 3, "bbox": [2, 2, 6, 6], "area": 36, "iscrowd": 0},
            {"id": 2, "image_id": 30, "category_id": 8, "bbox": [10, 10, 50, 30], "area": 1500, "iscrowd": 0},
        ],
    }
    (tmp_path / "in" / "truth.json").write_text(json.dumps(own))
    ids = read_coco_ids(tmp_path / "in" / "truth.json")
    assert [ids.of_image(Path(file)) for file in files] == [70, 30, None]
    assert ids.of_image(tmp_path / "elsewhere" / "deep.png") == 30  # the only one of this name
    assert ids.of_classes((*CLASSES, "razor")) == ([8, 3, 9], ["razor"])
    for numbers in (Numbers([70, 30], [8, 3]), None):
        out = tmp_path / f"out{numbers is None}"
        write_found(found, CLASSES, out, {}, numbers=numbers)
        resolved = COCO(str(out / "images.json"))
        rows = resolved.loadRes(str(out / "detections.json")).anns.values()
        names = [resolved.imgs[row["image_id"]]["original"] for row in rows]
        assert names == files[:2]
        assert [resolved.cats[row["category_id"]]["name"] for row in rows] == ["knife", "gun"]
    truth = COCO(str(tmp_path / "in" / "truth.json"))
    evaluated = COCOeval(truth, truth.loadRes(str(tmp_path / "outFalse" / "detections.json")), "bbox")
    evaluated.evaluate(), evaluated.accumulate(), evaluated.summarize()
    assert evaluated.stats[0] == pytest.approx(1.0)
    assert capsys.readouterr().err == ""


def test_a_folder_appears_whole_or_not_at_all(files, tmp_path):
    def stop(_done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_found([found_in(files[0])], CLASSES, tmp_path / "out", {}, stop)
    assert [file.name for file in tmp_path.iterdir()] == ["in"]
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunFailed, match="cannot be written"):
        write_found([found_in(files[0])], CLASSES, tmp_path / "taken", {})
    assert (tmp_path / "taken").read_text() == "a file"
