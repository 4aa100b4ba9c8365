"""Planted faults: each is found, named with its place, refused by default; when asked, mended or its image left out."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import examine_boxes, read_boxes
from tlkit.data.boxes.faults import checked_boxes, merged_names, order_hint
from tlkit.data.boxes.formats import annotations as box_records
from tlkit.data.boxes.formats.annotations import Annotated, Record, safe_path
from tlkit.errors import DataFault

HEADER = "image,left,top,right,bottom,class"
GOOD = "a.png,1,1,50,60,gun"


def table(root, *rows, names=("a.png",)):
    root.mkdir(exist_ok=True)
    for name in names:
        Image.new("L", (100, 80)).save(root / name)
    (root / "boxes.csv").write_text("\n".join([HEADER, GOOD, *rows]) + "\n")
    return root


OUT = "its image is left out"
ROWS = {
    "zero-size": ("a.png,5,5,5,9,gun", "boxes.csv line 3: box 5,5,5,9 has no width", OUT),
    "inverted": ("a.png,5,50,9,20,gun", "box 5,50,9,20 ends before it begins", OUT),
    "out-of-image": ("a.png,-4,70,30,90,gun", "reaches out of its image of 100x80", [0, 70, 30, 80]),
    "out-of-image far": ("a.png,200,70,230,90,gun", "lies outside its image of 100x80", OUT),
    "out-of-image most": ("a.png,90,70,130,110,gun", "with more than three quarters of its area", OUT),
    "duplicate": (GOOD, "box 1,1,50,60 of gun stands there twice", "dropped"),
    "normalised": ("a.png,0.1,0.2,0.5,0.9,gun", "looks normalised; pixels are expected", OUT),
    "no-number": ("a.png,x,2,5,9,gun", "box x,2,5,9 is not four numbers", OUT),
    "no-number nan": ("a.png,1,2,NaN,9,gun", "box 1,2,NaN,9 is not four numbers", OUT),
    "no-number inf": ("a.png,1,2,inf,9,gun", "is not four numbers", OUT),
    "no-number huge": ("a.png,1,2,1e300,9,gun", "is not four numbers", OUT),
    "no-number half": ("a.png,1,2,,9,gun", "is not four numbers", OUT),
    "unknown-class": ("a.png,1,2,5,9,", "the box has no class", OUT),
    "missing-image": ("z.png,1,2,5,9,gun", "boxes.csv line 3: z.png does not exist", "left out"),
}


@pytest.mark.parametrize(("row", "said", "done"), ROWS.values(), ids=ROWS)
def test_a_bad_row_is_named_refused_and_mended(row, said, done, tmp_path, request):
    root = table(tmp_path / "s", row, "b.png,2,2,9,9,gun", names=("a.png", "b.png"))
    kind = request.node.callspec.id.split()[0]
    (fault,) = examine_boxes(root).faults
    assert fault.kind == kind
    assert said in str(fault)
    with pytest.raises(DataFault) as refused:
        read_boxes(root)
    assert f"1 {kind}" in refused.value.problem
    assert said in refused.value.problem
    assert "--faults clip" in refused.value.remedy
    mended = read_boxes(root, faults="clip")
    clipped = [done] if isinstance(done, list) else []
    kept = [] if done == OUT else [("a.png", [[1, 1, 50, 60], *clipped])]
    got = [(path, boxes.tolist()) for path, boxes in zip(mended.paths, mended.xyxy, strict=True)]
    assert got == [*kept, ("b.png", [[2, 2, 9, 9]])]
    assert len(mended.notes) == len(mended.told) == 1
    assert said in mended.notes[0]
    assert mended.notes[0].endswith(f": {'clipped' if clipped else done}.")


def test_where_no_image_is_left_clip_refuses_too(tmp_path):
    root = table(tmp_path / "s", "a.png,5,5,5,9,gun")
    with pytest.raises(DataFault, match=r"no image left: 1 image left out, as .* \(1 zero-size\): a.png"):
        read_boxes(root, faults="clip")


def test_an_order_that_holds_for_most_boxes_is_no_matter_of_single_images(tmp_path):
    rows = [f"{name}.png,60,40,{20 + i},30,gun" for i, name in enumerate("bcd")]
    root = table(tmp_path / "s", *rows, names=[f"{name}.png" for name in "abcd"])
    (root / "boxes.csv").write_text("\n".join([HEADER, "a.png,5,5,20,30,gun", *rows]) + "\n")
    for faults in ("refuse", "clip"):  # a.png would be left, with a box that is another
        with pytest.raises(DataFault, match="3 inverted") as refused:
            read_boxes(root, faults=faults)
        assert refused.value.remedy.startswith(
            "All boxes fit if their numbers are left,top,width,height. Write them as this"
        )


def test_what_was_done_is_counted_in_a_sentence_each(tmp_path):
    rows = [*(f"{name}.png,5,5,5,9,gun" for name in "bcdef"), "a.png,-1,0,5,5,gun", "g.png,1,x,5,5,gun", GOOD]
    root = table(tmp_path / "s", *rows, names=[f"{name}.png" for name in "abcdefg"])
    assert read_boxes(root, faults="clip").told == (
        "6 images left out, as annotations of them have no one meaning (5 zero-size, 1 no-number): b.png, c.png, d.png and 3 more.",
        "1 out-of-image in 1 image, clipped: a.png.",
        "1 duplicate in 1 image, dropped: a.png.",
    )


def test_good_boxes_on_the_edges_have_no_fault(tmp_path):
    rows = ("a.png,0,0,100,80,gun", "a.png,0,0,1,1,gun", "a.png,0.25,0.5,1.5,2,gun", "a.png,1,1,50,60,knife")
    assert examine_boxes(table(tmp_path / "s", *rows)).faults == []


def test_a_box_that_becomes_a_duplicate_by_clipping_is_dropped(tmp_path):
    root = table(tmp_path / "s", "a.png,50,50,120,80,gun", "a.png,50,50,130,80,gun")
    assert read_boxes(root, faults="clip").xyxy[0].tolist() == [[1, 1, 50, 60], [50, 50, 100, 80]]


def test_many_faults_are_counted_and_ten_are_shown(tmp_path):
    root = table(tmp_path / "s", *(f"a.png,5,{i},5,{i + 1},gun" for i in range(14)), "a.png,-1,0,5,5,gun")
    with pytest.raises(DataFault) as refused:
        read_boxes(root)
    assert "15 faults (14 zero-size, 1 out-of-image)" in refused.value.problem
    assert refused.value.problem.count("has no width") == 10
    assert "and 5 more" in refused.value.problem


def test_unlabelled_images_are_a_question_of_their_own(tmp_path):
    root = table(tmp_path / "s", names=("a.png", "b.png"))
    for faults in ("refuse", "clip"):
        with pytest.raises(
            DataFault, match=r"b.png: has no annotation: is it negative, or forgotten"
        ) as refused:
            read_boxes(root, faults=faults)
        assert "--unlabelled negative" in refused.value.remedy
        assert "--faults" not in refused.value.remedy
    assert read_boxes(root, unlabelled="skip").paths == ("a.png",)
    taken = read_boxes(root, unlabelled="negative")
    assert [len(b) for b in taken.xyxy] == [1, 0]
    assert read_boxes(root / "boxes.csv").paths == ("a.png",)  # a file names its images itself


def test_the_order_of_the_numbers_is_guessed():
    size = np.tile([100, 80], (3, 1))
    good = np.array([[10, 20, 60, 70], [70, 0, 90, 30], [0, 0, 100, 79]], float)
    assert order_hint(good, size) == ""
    assert "left,right,top,bottom" in order_hint(good[:, [0, 2, 1, 3]], size)
    assert "top,left,bottom,right" in order_hint(good[:, [1, 0, 3, 2]], size)
    sides = np.concatenate([good[:, :2], good[:, 2:] - good[:, :2]], axis=1)
    assert "left,top,width,height" in order_hint(sides, size)
    assert "shares" in order_hint(good / [100, 80, 100, 80], size)
    assert order_hint(np.array([[500, 1, 2, 3.0]]), size[:1]) == ""


def test_the_guess_stands_in_the_remedy(tmp_path):
    root = tmp_path / "s"
    table(root)
    (root / "boxes.csv").write_text(f"{HEADER}\na.png,0.1,0.1,0.4,0.5,gun\na.png,0.2,0.1,0.4,1,gun\n")
    with pytest.raises(DataFault) as refused:
        read_boxes(root)
    assert refused.value.remedy.startswith("All boxes fit if their numbers are shares")


def test_spellings_of_one_class(tmp_path):
    spelling, faults = merged_names(
        Counter({"Gun": 2, "gun": 5, "GUN": 1, "knife": 1, "hand gun": 1, "hand_gun": 2})
    )
    assert spelling == {
        "Gun": "gun", "gun": "gun", "GUN": "gun", "knife": "knife", "hand gun": "hand_gun", "hand_gun": "hand_gun",
    }  # fmt: skip
    assert [fault.what for fault in faults] == [
        "GUN and Gun and gun are one class in several spellings",
        "hand gun and hand_gun are one class in several spellings",
    ]
    root = table(tmp_path / "s", "a.png,2,2,9,9,Gun", "a.png,3,3,9,9,gun")
    with pytest.raises(DataFault, match="Gun and gun are one class"):
        read_boxes(root)
    mended = read_boxes(root, faults="clip")
    assert (mended.class_names, mended.labels[0].tolist()) == (("gun",), [0, 0, 0])


def test_unreadable_images_are_named(tmp_path):
    root = table(tmp_path / "s", "b.png,1,1,5,5,gun")
    (root / "b.png").write_bytes(b"no image")
    assert [(f.kind, str(f)) for f in examine_boxes(root).faults] == [
        ("unreadable-image", "b.png: is no readable image")
    ]
    assert read_boxes(root, faults="clip").paths == ("a.png",)


# --- per format ---


def yolo(root, *lines, names="gun\nknife\n"):
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    Image.new("L", (100, 80)).save(root / "images" / "1.png")
    (root / "labels" / "1.txt").write_text("\n".join(lines))
    if names:
        (root / "classes.txt").write_text(names)
    return root


def test_yolo_ids_beyond_the_names(tmp_path):
    root = yolo(tmp_path / "s", "0 0.5 0.5 0.1 0.1", "2 0.5 0.5 0.1 0.1", "x 1 1 1 1")
    assert [(str(f), f.done) for f in examine_boxes(root).faults] == [
        ("labels/1.txt line 2: class 2 is not among the 2 names (0 to 1)", OUT),
        ("labels/1.txt line 3: class x is not among the 2 names (0 to 1)", OUT),
    ]


def test_yolo_in_pixels_short_lines_and_labels_without_image(tmp_path):
    root = yolo(tmp_path / "s", "0 50 40 20 20", "0 0.5 0.5", "0 0.5 0.5 0.1 0.1")
    (root / "labels" / "lost.txt").write_text("")
    kinds = {fault.where: fault.kind for fault in examine_boxes(root).faults}
    assert kinds == {
        "labels/1.txt line 1": "out-of-image",
        "labels/1.txt line 2": "no-number",
        "labels/lost.txt": "missing-image",
    }


def test_yolo_without_names_says_how_to_give_them(tmp_path):
    with pytest.raises(DataFault, match="no names of classes"):
        read_boxes(yolo(tmp_path / "s", "0 0.5 0.5 0.1 0.1", names=""))


@pytest.mark.parametrize(
    ("names", "said"), [("gun\n\nknife\n", "empty name"), ("gun\ngun\n", "names gun twice")]
)
def test_lists_of_names_that_cannot_be(names, said, tmp_path):
    with pytest.raises(DataFault, match=said):
        read_boxes(yolo(tmp_path / "s", "0 0.5 0.5 0.1 0.1", names=names))


def coco(root, **changes):
    root.mkdir(exist_ok=True)
    Image.new("L", (100, 80)).save(root / "1.png")
    whole = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}],
        "categories": [{"id": 1, "name": "gun"}],
    }
    (root / "boxes.json").write_text(json.dumps({**whole, **changes}))
    return root


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"annotations": [{"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]}]},
         "missing-image", "boxes.json annotation 3: image 2 is not listed"),
        ({"annotations": [{"id": 3, "image_id": 1, "category_id": 8, "bbox": [1, 2, 3, 4]}]},
         "unknown-class", "category 8 is not among the 1 categories"),
        ({"annotations": [{"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]},
         "no-number", "boxes.json annotation 3"),
        ({"annotations": [{"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 2, 0, 5]}]},
         "zero-size", "has no width"),
        ({"images": [{"id": 1, "file_name": "1.png", "width": 80, "height": 100}]},
         "image-size", "says 80x100 but 1.png has 100x80 pixels"),
        ({"images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "1.png"}]},
         "duplicate", "1.png is listed twice"),
        ({"images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "lost.png"}]},
         "missing-image", "lost.png does not exist"),
    ],
)  # fmt: skip
def test_coco_faults(changes, kind, said, tmp_path):
    (fault,) = examine_boxes(coco(tmp_path / "s", **changes)).faults
    assert fault.kind == kind
    assert said in str(fault)


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{", '{"images": 3, "annotations": [], "categories": []}', "[" * 100_000]
)
def test_json_that_is_no_coco(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataFault, match=r"x.json is no (COCO )?JSON"):
        read_boxes(tmp_path / "x.json")


VOC = "<annotation><filename>{}</filename><object><name>gun</name><bndbox>{}</bndbox></object></annotation>"
BOX = "<xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax>"


def voc(root, text):
    root.mkdir(exist_ok=True)
    Image.new("L", (100, 80)).save(root / "1.png")
    (root / "1.xml").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + VOC.format("1.png", BOX), "declares a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
        ("<annotation><object></annotation>", "is no XML"),
        ("", "is no XML"),
        (VOC.format("../../secret.png", BOX), "is no path inside the source"),
    ],
)
def test_hostile_xml_is_refused_whatever_is_asked(text, said, tmp_path):
    with pytest.raises(DataFault, match=said):
        read_boxes(voc(tmp_path / "s", text), faults="clip")


def test_entities_in_utf16_are_seen_too(tmp_path):
    root = voc(tmp_path / "s", "")
    bomb = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (root / "1.xml").write_bytes(bomb.encode("utf-16"))
    with pytest.raises(DataFault, match="declares a document type"):
        read_boxes(root)


def test_voc_without_corners_and_without_image(tmp_path):
    root = voc(tmp_path / "s", VOC.format("1.png", BOX.replace("<xmax>3</xmax>", "")))
    (root / "2.xml").write_text(VOC.format("2.png", BOX))
    assert sorted((f.kind, f.where) for f in examine_boxes(root).faults) == [
        ("missing-image", "2.xml"),
        ("no-number", "1.xml object 1"),
    ]


def test_gdxray_and_open_images_rows_without_image(tmp_path):
    (tmp_path / "C1").mkdir()
    Image.new("L", (100, 80)).save(tmp_path / "C1" / "C1_0001.png")
    (tmp_path / "C1" / "ground_truth.txt").write_text("1 1 2 3 4\n9 1 2 3 4\n1 5 6\n")
    assert [(f.kind, f.where) for f in examine_boxes(tmp_path).faults] == [
        ("missing-image", "C1/ground_truth.txt line 2"),
        ("no-number", "C1/ground_truth.txt line 3"),
    ]
    file = tmp_path / "C1" / "o.csv"
    file.write_text("ImageID,LabelName,XMin,XMax,YMin,YMax\nC1_0001,gun,0,1,0,1\nlost,gun,0,1,0,1\n")
    assert [(f.kind, f.where) for f in examine_boxes(file).faults] == [("missing-image", "o.csv line 3")]


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", "", "C:\\x.png", "a\0.png"])
def test_paths_that_leave_the_folder(name):
    with pytest.raises(DataFault, match=r"boxes.csv line 2: .* is no path inside the source"):
        safe_path("boxes.csv line 2", name)


def test_backslashes_are_slashes():
    assert safe_path("x", " sub\\1.png ") == "sub/1.png"


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("image,left,top,right,class\na.png,1,1,5,gun\n", "has no column bottom"),
        (f"{HEADER},group\na.png,1,1,5,5,gun,1\na.png,1,1,6,5,gun,2\n", "a.png has group 1 and 2"),
        (f"{HEADER},split\na.png,1,1,5,5,gun,dev\n", "split dev is unknown"),
        ("", "has no column image"),
    ],
)
def test_tables_that_cannot_be(first, said, tmp_path):
    root = table(tmp_path / "s")
    (root / "boxes.csv").write_text(first)
    with pytest.raises(DataFault, match=said):
        read_boxes(root, faults="clip")


def test_where_no_image_is_left_nothing_is_read(tmp_path):
    root = table(tmp_path / "s")
    (root / "boxes.csv").write_text(f"{HEADER}\n../other.png,1,1,5,5,gun\n")
    with pytest.raises(DataFault, match=r"boxes.csv line 2: ../other.png is no path inside the source"):
        read_boxes(root)
    with pytest.raises(DataFault, match=r"s has no image left: .*boxes.csv line 2: ../other.png is no path"):
        read_boxes(root, faults="clip", unlabelled="skip")


def test_a_flood_of_boxes_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(box_records, "MOST_BOXES", 3)
    root = table(tmp_path / "s", *(f"a.png,{i},1,50,60,gun" for i in range(2, 6)))
    with pytest.raises(DataFault, match=r"boxes.csv line 5: a.png has more than 3 boxes"):
        read_boxes(root, faults="clip")


def test_checked_boxes_says_what_is_usable():
    records = [Record(f"row {i}", "gun", (0, 0, 0, 0)) for i in range(3)]
    corners = np.array([[1, 1, 5, 5], [-2, 1, 5, 5], [3, 3, 3, 9]], float)
    boxes, usable, faults = checked_boxes(Annotated("a.png", "row", records), corners, (10, 10))
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[1, 1, 5, 5], [0, 1, 5, 5], [3, 3, 3, 9]]
    assert usable.tolist() == [True, True, False]
    assert [(f.kind, f.where, f.done) for f in faults] == [
        ("out-of-image", "row 1", "clipped"),
        ("zero-size", "row 2", OUT),
    ]
