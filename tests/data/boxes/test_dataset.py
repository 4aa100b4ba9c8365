"""Boxes as one description, and what they can be asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import (
    areas,
    clip_boxes,
    examine_boxes,
    intersections,
    iou,
    read_boxes,
)
from tlkit.data.boxes.formats.writers import difference
from tlkit.errors import DataFault, UsageFault


def write(root, rows, size=(100, 80), names=("a.png", "b.png", "c.png")):
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(root / name)
    (root / "boxes.csv").write_text("\n".join(rows) + "\n")
    return root


HEADER = "image,left,top,right,bottom,class"


def loop_iou(one, other):
    """Count the quarter pixels that lie in both and in either: boxes on a grid of 0.25."""
    y, x = np.mgrid[0:40:0.25, 0:40:0.25] + 0.125
    inside = [(x > b[0]) & (x < b[2]) & (y > b[1]) & (y < b[3]) for b in (one, other)]
    return (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()


def test_iou_is_that_of_counted_pixels():
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 60, (9, 4)) / 4
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 0.25], axis=1)
    found = iou(boxes[:4], boxes[4:])
    expected = [[loop_iou(one, other) for other in boxes[4:]] for one in boxes[:4]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_iou_of_touching_empty_and_no_boxes():
    one = np.array([[0, 0, 10, 10]], np.float32)
    assert iou(one, np.array([[10, 0, 20, 10]])).tolist() == [[0.0]]
    assert iou(np.array([[5, 5, 5, 5]]), np.array([[5, 5, 5, 5]])).tolist() == [[0.0]]
    assert iou(one, np.zeros((0, 4))).shape == (1, 0)
    assert iou(one, one).tolist() == [[1.0]]
    assert intersections(one, np.array([[5, 6, 20, 20]])).tolist() == [[20.0]]
    assert areas(np.array([[0, 0, 2, 3], [4, 0, 2, 3]])).tolist() == [6.0, 0.0]


def test_boxes_are_clipped_at_the_edges():
    boxes = np.array([[-5, 3, 30, 200], [1, 1, 2, 2]])
    assert clip_boxes(boxes, (20, 100)).tolist() == [[0, 3, 20, 100], [1, 1, 2, 2]]


def test_boxes_csv_with_negative_images_groups_and_facts(tmp_path):
    rows = [
        f"{HEADER},group,part,occlusion,difficult",
        "b.png,1.5,2,30.25,40,knife,g1,train,0.3,0",
        "b.png,5,6,7,8,gun,g1,train,0.9,1",
        "a.png,,,,,,g2,test,,",
        "c.png,0,0,100,80,gun,,,,",
    ]
    boxes = read_boxes(write(tmp_path / "bags", rows))
    assert boxes.paths == ("a.png", "b.png", "c.png")
    assert boxes.class_names == ("gun", "knife")
    assert [b.tolist() for b in boxes.xyxy] == [[], [[1.5, 2, 30.25, 40], [5, 6, 7, 8]], [[0, 0, 100, 80]]]
    assert [b.dtype for b in boxes.xyxy] == [np.float32] * 3
    assert boxes.xyxy[0].shape == (0, 4)
    assert [k.tolist() for k in boxes.labels] == [[], [1, 0], [0]]
    assert [d.tolist() for d in boxes.difficult] == [[], [False, True], [False]]
    assert boxes.groups == ("g2", "g1", None)
    assert boxes.parts == ("test", "training", None)
    assert boxes.sizes == ((100, 80),) * 3
    assert boxes.box_columns == {"occlusion": ((), ("0.3", "0.9"), ("",))}
    assert boxes.summary() == {
        "images": 3, "negative": 1, "boxes": 3, "difficult": 1, "crowd": 0, "per_class": {"gun": 2, "knife": 1},
    }  # fmt: skip
    taken = boxes.take([2, 1])
    assert taken.paths == ("c.png", "b.png")
    assert taken.box_columns["occlusion"] == (("",), ("0.3", "0.9"))
    assert taken.file(0) == tmp_path / "bags" / "c.png"


def test_only_negative_images_are_a_source(tmp_path):
    boxes = read_boxes(write(tmp_path / "s", [HEADER, "a.png,,,,,"], names=["a.png"]))
    assert (len(boxes), boxes.class_names, boxes.counts()) == (1, (), {})


def test_groups_csv_beside_and_facts_of_images(tmp_path):
    root = write(
        tmp_path / "s", [HEADER, "a.png,1,1,5,5,gun", "sub/b.png,1,1,5,5,gun"], names=["a.png", "sub/b.png"]
    )
    (root / "groups.csv").write_text(
        "image,group,split,scanner\nb.png,7,val,old\na.png,3,train,new\nz.png,1,,\n"
    )
    boxes = read_boxes(root)
    assert boxes.groups == ("3", "7")
    assert boxes.parts == ("training", "validation")
    assert boxes.columns == {"scanner": ("new", "old")}


def test_folders_named_after_parts_give_parts(tmp_path):
    names = ["train/a.png", "test/b.png"]
    boxes = read_boxes(write(tmp_path / "s", [HEADER, *(f"{n},1,1,5,5,gun" for n in names)], names=names))
    assert dict(zip(boxes.paths, boxes.parts, strict=True)) == {
        "train/a.png": "training",
        "test/b.png": "test",
    }


def test_a_turned_jpeg_has_the_size_that_is_shown(tmp_path):
    image = Image.new("L", (60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "s").mkdir()
    image.save(tmp_path / "s" / "a.jpg", exif=exif)
    (tmp_path / "s" / "boxes.csv").write_text(f"{HEADER}\na.jpg,0,0,30,60,gun\n")
    assert read_boxes(tmp_path / "s").sizes == ((30, 60),)


def test_difference_names_the_first(tmp_path):
    root = write(tmp_path / "s", [HEADER, "a.png,1,1,5,5,gun"], names=["a.png"])
    one = read_boxes(root)
    (root / "boxes.csv").write_text(f"{HEADER}\na.png,1,1,5,5.5,gun\n")
    assert (
        difference(one, read_boxes(root))
        == "xyxy of a.png differ: [[1.0, 1.0, 5.0, 5.0]] and [[1.0, 1.0, 5.0, 5.5]]"
    )
    assert difference(one, one) is None


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("nowhere", DataFault, "does not exist"),
        ("xray:crops", UsageFault, "xray:bags"),
        ("tfds:voc/2007", DataFault, "not prepared"),
    ],
)
def test_sources_that_cannot_be(source, kind, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(kind, match=said):
        read_boxes(source)


def test_arguments_that_cannot_be(tmp_path):
    root = write(tmp_path / "s", [HEADER, "a.png,1,1,5,5,gun"], names=["a.png"])
    with pytest.raises(UsageFault, match="--faults ignore"):
        read_boxes(root, faults="ignore")
    with pytest.raises(UsageFault, match="--unlabelled maybe"):
        read_boxes(root, unlabelled="maybe")
    assert examine_boxes(root).faults == []


def test_a_near_name_is_proposed(tmp_path):
    write(tmp_path / "bags", [HEADER])
    with pytest.raises(DataFault, match="Did you mean .*bags"):
        read_boxes(tmp_path / "bag")


def test_no_tensorflow_is_needed():
    import subprocess
    import sys

    code = "import sys, tlkit.data.boxes.dataset, tlkit.data.boxes.formats.writers, tlkit.data.boxes.splits; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.real
def test_real_sets_read_without_a_fault(real_data):
    sixray = read_boxes(real_data / "sixray")
    assert sixray.counts() == {"Gun": 80, "Knife": 80, "Wrench": 80}
    assert sixray.paths[0] == "0002.jpg"
    assert sixray.groups[0] == "863"
    np.testing.assert_array_equal(sixray.xyxy[0], np.array([[0, 179.416, 224.691, 445.902]], np.float32))
    assert read_boxes(real_data / "bccd").counts() == {"Platelets": 174, "RBC": 1816, "WBC": 158}
    assert read_boxes(real_data / "raccoon").summary()["boxes"] == 34
