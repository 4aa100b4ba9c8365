"""Annotations of others, damaged in every way: a reader answers with boxes, or with one of our own faults."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlkit.data.boxes.dataset import examine_boxes, read_boxes
from tlkit.data.boxes.formats.yolo import _corners
from tlkit.data.checks.listing import list_source
from tlkit.data.images.sources import read_images
from tlkit.data.images.splits import read_manifest
from tlkit.errors import TlkitError

COCO = {
    "images": [{"id": 1, "file_name": "images/1.png", "width": 20, "height": 10}, {"id": 2, "file_name": "images/2.png"}],
    "categories": [{"id": 1, "name": "gun"}, {"id": 7, "name": "knife"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3.5, 4], "area": 5, "iscrowd": 0, "attributes": {"a": 1}},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1e0, 2, 3, 4]},
    ],
}  # fmt: skip
VOC = (
    '<?xml version="1.0" encoding="utf-8"?><annotation><filename>1.png</filename><source><database>The VOC2007 '
    "Database</database></source><size><width>20</width><height>10</height></size><object><name>gun</name><difficult>0"
    "</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9.5</xmax><ymax>8</ymax></bndbox><attributes><attribute><name>"
    "a</name><value>b</value></attribute></attributes></object></annotation>"
)
OUTLINES = [
    {"id": 1, "image_id": "1", "category_id": "7", "segmentation": [[1, 2, 9, 2, 9.5, 8]]},
    {
        "id": 2,
        "image_id": 2,
        "category_id": 1,
        "segmentation": {"counts": [25, 4, 6, 4, 161], "size": [10, 20]},
    },
    {
        "id": 3,
        "image_id": 2,
        "category_id": 1,
        "segmentation": {"counts": "i046d4", "size": [10, 20]},
        "bbox": [],
    },
]
CVAT = (
    '<annotations><meta><task><labels><label><name>gun</name></label></labels></task></meta><image id="0" name="1.png" '
    'width="20" height="10" subset="train"><box label="gun" xtl="1" ytl="2" xbr="9" ybr="8" rotation="10.0"><attribute '
    'name="a">b</attribute></box><polygon label="gun" points="1,2;3,4;9,8"/><ellipse label="gun" cx="5" cy="5" rx="3" '
    'ry="2"/></image></annotations>'
)
LABELME = {
    "version": "5.0",
    "shapes": [
        {"label": "gun", "points": [[9, 8], [1, 2]], "shape_type": "rectangle"},
        {"label": "gun", "points": [[5, 5], [7, 5]], "shape_type": "circle"},
    ],
    "imagePath": "1.png",
    "imageHeight": 10,
    "imageWidth": 20,
}
VIA_RECT = {"name": "rect", "x": 1, "y": 2, "width": 5, "height": 6}
VIA = {
    "1.png9": {
        "filename": "1.png",
        "regions": [{"shape_attributes": VIA_RECT, "region_attributes": {"class": "gun", "a": {"b": True}}}],
    },
    "2.png9": {"filename": "2.png", "regions": {}},
}
# Form -> the files beside images/1.png and images/2.png; every one of them is damaged in turn.
SOURCES = {
    "boxes.csv": {
        "boxes.csv": "image,left,top,right,bottom,class,difficult,group,split,note\nimages/1.png,1,2,3.5,4,gun,1,g,train,x\nimages/2.png,,,,,,,,test,\n",
        "classes.txt": "gun\nknife\n",
        "groups.csv": "image,group,split,scanner\nimages/1.png,a,train,s\n2.png,b,test,s\n",
    },
    "COCO": {"annotations.json": json.dumps(COCO)},
    "VOC": {"Annotations/1.xml": VOC, "ImageSets/Main/train.txt": "1\n", "classes.txt": "gun\n"},
    "YOLO": {
        "labels/1.txt": "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.3\n0 0.300000000000000000000000001 0.5 0.25 0.5\n",
        "labels/2.txt": "",
        "data.yaml": "path: .\nnames:\n  0: gun # a comment\n  1: 'kni''fe'\n",
        "attributes.csv": "image,box,difficult,note\n1.png,0,1,x\n",
    },
    "YOLO flow": {"labels/1.txt": "0 0.5 0.5 0.25 0.5\n", "data.yaml": 'names: ["g\\u0075n", knife]\n'},
    "GDXray": {"images/ground_truth.txt": "1 1 9 2 8\n2.000 1e0 9 2 8\n", "images/classes.txt": "gun\n"},
    "Open Images": {
        "boxes.csv.csv": "ImageID,Source,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n1,x,/m/1,0.1,0.5,0.2,0.8,0\n2,x,/m/2,0,1,0,1,1\n",
        "class-descriptions.csv": "/m/1,gun\n/m/2,knife\n",
    },
    "TensorFlow": {"labels.csv": "filename,width,height,class,xmin,ymin,xmax,ymax\nimages/1.png,20,10,gun,1,2,9,8\nimages/2.png,40,20,gun,2,4,8,9\n"},
    "COCO outlines": {"annotations.json": json.dumps({**COCO, "annotations": OUTLINES})},
    "CVAT": {"annotations.xml": CVAT},
    "labelme": {"images/1.json": json.dumps(LABELME)},
    "VIA": {"via.json": json.dumps(VIA)},
    "VIA table": {
        "via.csv": "filename,region_count,region_shape_attributes,region_attributes\n1.png,1,"
        '"{""name"":""rect"",""x"":1,""y"":2,""width"":5,""height"":6}","{""class"":""gun""}"\n2.png,0,{},{}\n',
    },
}  # fmt: skip
TABLE = "path,label,split,group,scanner\nimages/1.png,gun,train,a,s\nimages/2.png,knife,train,b,s\n"
PIECES = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1", "1e-400", "null", "true", '""', "[]", "{}", "0x10", "1_0", "sNaN"),
    *("[" * 3000, '{"a":' * 2000, "<a>" * 3000, "9" * 5000, "x" * 200_000, "/" * 5000, "1e" + "9" * 40),
    *("../", "/etc/passwd", "C:\\", "\\\\server\\x", "\0", "\r", "\n", ",", '"', "'", "<", ">", "&x;", "#", ":", " "),
    *("\ud800", "\\ud800", "\u202e", "é", "\ufeff", "٣", "<!DOCTYPE a>", "<![CDATA[", "names:", "- ", "[", "]", "{", "}"),
)  # fmt: skip
DAMAGES = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "cut", "repeat", "byte", "drop"]),
        st.floats(0, 1),
        st.integers(1, 12),
        st.sampled_from(PIECES),
    ),
    min_size=1,
    max_size=4,
)


def damaged(text, damages):
    """Text or bytes with some damages done to it, as bytes."""
    contents = text.encode("utf-8") if isinstance(text, str) else text
    for how, where, length, piece in damages:
        at = int(where * len(contents))
        new = piece.encode("utf-8", "surrogatepass")
        before, gone, after = contents[:at], contents[at : at + length], contents[at + length :]
        contents = {
            "insert": before + new + gone + after,
            "replace": before + new + after,
            "cut": before,
            "repeat": before + gone * 20 + after,
            "byte": before + bytes([int(where * 1e6) % 256]) + gone[1:] + after,
            "drop": before + after,
        }[how]
    return contents


def folder_with(place, files):
    shutil.rmtree(place, ignore_errors=True)
    for name, contents in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    (place / "images").mkdir(exist_ok=True)
    for number in (1, 2):
        Image.new("L", (20, 10)).save(place / "images" / f"{number}.png")
    return place


def refuses_or_reads(read):
    """Whatever comes out can be told: printed, and written as UTF-8."""
    try:
        return read()
    except TlkitError as error:
        fault = error
    assert fault.problem
    assert fault.remedy
    assert len(fault.problem) < 20_000
    str(fault).encode("utf-8")
    return None


@pytest.mark.parametrize("form", SOURCES)
@given(data=st.data())
def test_boxes_or_a_fault(form, place, data):
    files = dict(SOURCES[form])
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = damaged(files[name], data.draw(DAMAGES))
    source = folder_with(place / "source", files)
    boxes = refuses_or_reads(lambda: read_boxes(source, faults="clip", unlabelled="negative"))
    faults = refuses_or_reads(lambda: examine_boxes(source).faults) or []
    assert all(str(fault).encode("utf-8") for fault in faults)
    refuses_or_reads(lambda: list_source(str(source)))
    if boxes is not None:
        inside = [
            path
            for path in boxes.paths
            if (source / "images").resolve() in (boxes.root / path).resolve().parents
        ]
        assert inside == list(boxes.paths)
        for xyxy, (width, height) in zip(boxes.xyxy, boxes.sizes, strict=True):
            assert ((xyxy >= 0) & (xyxy <= [width, height, width, height])).all()
            assert (xyxy[:, :2] < xyxy[:, 2:]).all()
        "".join(boxes.class_names).encode("utf-8")


@pytest.mark.parametrize("form", SOURCES)
def test_undamaged_they_are_read(form, place):
    boxes = read_boxes(folder_with(place / "sound", SOURCES[form]), unlabelled="negative")
    assert sum(map(len, boxes.xyxy)) > 0


ODD = (
    "sNaN",
    "-Infinity",
    "1e" + "9" * 30,
    "9" * 5000,
    "1_0",
    "x",
    "0." + "0" * 400_000 + "1",
    "-1e-999999999",
)


@pytest.mark.parametrize("place_of_it", range(4))
@given(odd=st.sampled_from(ODD))
def test_no_number_of_yolo_raises(place_of_it, odd):
    cells = ["0.5000000000000000000000000001", "0.5", "0.25", "0.25"]
    cells[place_of_it] = odd
    assert len(_corners(cells)) == 4


@given(DAMAGES)
def test_a_table_of_images_or_a_fault(place, damages):
    source = folder_with(place / "table", {"labels.csv": damaged(TABLE, damages)})
    images = refuses_or_reads(lambda: read_images(str(source / "labels.csv"), least=1))
    refuses_or_reads(lambda: list_source(str(source / "labels.csv")))
    if images is not None:
        assert {(source / path).parent.name for path in images.paths} == {"images"}


@given(DAMAGES)
def test_a_manifest_or_a_fault(place, damages):
    text = "path,sha256,label,group,part\nbar/1.png,00,bar,g,training\nbar/2.png,01,bar,,test\n"
    (place / "split.csv").write_bytes(damaged(text, damages))
    rows = refuses_or_reads(lambda: read_manifest(place / "split.csv"))
    if rows is not None:
        assert {row["part"] for row in rows.values()} <= {"training", "validation", "test"}


def test_undamaged_tables_are_read(place):
    source = folder_with(place / "table", {"labels.csv": TABLE})
    assert len(read_images(str(source / "labels.csv"))) == 2
    with (source / "labels.csv").open(newline="") as stream:
        assert len(list(csv.reader(stream))) == 3
