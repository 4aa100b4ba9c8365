"""Public reports about annotated images, by name: each is read with the right boxes and parts, or refused by name.

Those about where files lie are layouts of `test_box_layouts`; `ALL` lists both. Of each, `tlkit check` has errors
exactly where `read_boxes`, and so every run, refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.data.boxes.formats.test_contents import (
    A_SHARES,
    A_SIDES,
    B_SIDES,
    OUTLINE,
    PART,
    RING,
    TURNED,
    A,
    B,
    ann,
    bnd,
    draw_image,
    draw_images,
    got,
    gun,
    refusals,
    voc,
)
from tests.data.boxes.formats.test_layouts import LAYOUTS
from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.checks.check import check_source
from tlkit.errors import DataFault

ALL = """
coco_images_subset coco_images_train2017 coco_label_studio coco_label_studio_project coco_absolute coco_roboflow_root
coco_same_image_id coco_same_file_name coco_string_ids coco_string_category coco_segmentation_only coco_empty_bbox
coco_bbox_strings coco_resized coco_exif_unturned coco_missing_category_list coco_rle_crowd coco_no_annotations_key
coco_unordered_gaps coco_rounding coco_same_names_in_parts
voc_trainval_test voc_zero_size voc_part voc_names voc_swapped voc_wh voc_gbk voc_robndbox voc_path_elsewhere
voc_no_object voc_bmp_webp_same_stem voc_cvat voc_parallel_parts voc_stem_elsewhere
yolo_float_id yolo_confidence yolo_commas yolo_decimal_commas yolo_pose2 yolo_polygons_mixed yolo_train_lists
yolo_named_folders yolo_yaml_elsewhere yolo_capital_folders yolo_missing_txt yolo_upper_suffix yolo_cvat yolo_same_stem
yolo_subfolders yolo_one_based yolo_exif yolo_roboflow yolo_numeric_names yolo_coco128 yolo_yaml_beside
open_images open_images_three csv_tf boxes_csv_semicolons boxes_csv_cp1252 dense cvat_xml labelme_json
""".split()  # noqa: SIM905
GUN, KNIFE = ("gun", *A), ("knife", *B)
TRAIN_VAL = "train: images/train\nval: images/val\n"


class Right(NamedTuple):
    """What is read: boxes by path; how many images of each part; what an image without annotation is taken for."""

    boxes: dict[str, list]
    parts: dict[str, int] = {}  # noqa: RUF012 - never changed
    source: str = ""
    unlabelled: str = "error"


class Refused(NamedTuple):
    """What is refused: words of the sentence and its remedy; the images that `--faults clip` keeps, none: it refuses."""

    words: str
    kept: tuple[str, ...] = ()


CASES: dict[str, Callable] = {}


def case(draw):
    CASES[draw.__name__] = draw
    return draw


# --- COCO ---


def listed(names, size=(120, 80), ids=None):
    return [
        {"id": ids[i] if ids else i, "file_name": name, "width": size[0], "height": size[1]}
        for i, name in enumerate(names)
    ]


def coco(root, annotations, images=None, categories=({"id": 1, "name": "gun"},), file="a.json"):
    whole = {"images": images or listed(["0.jpg", "1.jpg", "2.jpg"]), "categories": list(categories)}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps({**whole, "annotations": annotations}))


def three(root, annotations, **more):
    """Three images with their annotations; a gun on each is right."""
    draw_images(root)
    coco(root, annotations, **more)
    return Right({f"{i}.jpg": [GUN] for i in range(3)})


@case
def coco_roboflow_root(root):
    """Category 0 is a row that groups the others and owns nothing."""
    right = {}
    for part, number in (("train", 3), ("valid", 2), ("test", 1)):
        names = [f"{part}{i}_jpg.rf.0c4{i}.jpg" for i in range(number)]
        draw_images(root / part, names)
        found = [
            ann(2 * i + k, i, box, k + 1) for i in range(number) for k, box in enumerate((A_SIDES, B_SIDES))
        ]
        classes = [{"id": i, "name": name} for i, name in enumerate(("weapons", "gun", "knife"))]
        coco(root, found, listed(names), classes, f"{part}/_annotations.coco.json")
        right |= {f"{part}/{name}": [GUN, KNIFE] for name in names}
    return Right(right, {"training": 3, "validation": 2, "test": 1})


@case
def coco_same_image_id(root):
    draw_images(root, ["a.jpg", "a.png", "b.jpg"])
    coco(root, [ann(1, 1, A_SIDES), ann(2, 2, A_SIDES)], listed(["a.jpg", "a.png", "b.jpg"], ids=[1, 1, 2]))
    return Refused("a.png has the id 1 of a.jpg too", ("b.jpg",))


@case
def coco_same_file_name(root):
    names = ["frame_66.png", "frame_66.png", "frame_67.png"]
    draw_images(root, names[1:])
    found = [ann(1, 1, A_SIDES), ann(2, 51, B_SIDES), ann(3, 2, A_SIDES)]
    coco(root, found, listed(names, ids=[1, 51, 2]))
    return Refused("frame_66.png is listed twice", ("frame_67.png",))


@case
def coco_string_ids(root):
    """The id is a text in images and a number in annotations."""
    return three(
        root,
        [ann(i, i, A_SIDES) for i in range(3)],
        images=listed(["0.jpg", "1.jpg", "2.jpg"], ids=["0", "1", "2"]),
    )


@case
def coco_string_category(root):
    found = [ann(i, i, A_SIDES, "1") for i in range(3)]
    return three(root, found, categories=[{"id": "1", "name": "gun"}])


@case
def coco_segmentation_only(root):
    return three(root, [{"id": i, "image_id": i, "category_id": 1, "segmentation": RING} for i in range(3)])


@case
def coco_empty_bbox(root):
    return three(root, [ann(i, i, [], segmentation=RING, area=1200) for i in range(3)])


@case
def coco_bbox_strings(root):
    return three(root, [ann(i, i, [str(value) for value in A_SIDES]) for i in range(3)])


@case
def coco_resized(root):
    """Annotated at 240x160, delivered at 120x80."""
    images = listed(["0.jpg", "1.jpg", "2.jpg"], size=(240, 160))
    return three(root, [ann(i, i, [2 * value for value in A_SIDES]) for i in range(3)], images=images)


@case
def coco_exif_unturned(root):
    """Boxes drawn on the stored pixels of 120x80, shown turned as 80x120."""
    draw_images(root, orientation=6)
    coco(root, [ann(i, i, A_SIDES) for i in range(3)])
    return Right({f"{i}.jpg": [("gun", 20, 10, 60, 40)] for i in range(3)})


@case
def coco_missing_category_list(root):
    three(root, [ann(i, i, A_SIDES, 1 + i % 2) for i in range(3)])
    return Refused("category 2 is not among the 1 categories", ("0.jpg", "2.jpg"))


@case
def coco_rle_crowd(root):
    crowd = ann(2, 0, B_SIDES, iscrowd=1, segmentation={"counts": [0, 10, 9590], "size": [80, 120]})
    pose = ann(3, 1, A_SIDES, keypoints=[10, 20, 2], num_keypoints=1)
    right = three(root, [ann(1, 0, A_SIDES), crowd, pose, ann(4, 2, A_SIDES)])
    return Right({**right.boxes, "0.jpg": [GUN, ("gun", *B)]})


@case
def coco_no_annotations_key(root):
    draw_images(root)
    whole = {"images": listed(["0.jpg", "1.jpg", "2.jpg"]), "categories": [{"id": 1, "name": "gun"}]}
    (root / "image_info_test.json").write_text(json.dumps(whole))
    return Refused("COCO's list of images without annotations")


@case
def coco_unordered_gaps(root):
    found = [ann(0, 0, A_SIDES, 90), ann(1, 1, A_SIDES, 7)]
    three(root, found, categories=[{"id": 90, "name": "knife"}, {"id": 7, "name": "gun"}])
    return Right({"0.jpg": [("knife", *A)], "1.jpg": [GUN], "2.jpg": []})


@case
def coco_rounding(root):
    """Percentages leave right edges of 120.00000000000001 and left ones of -1e-14."""
    wide = [84.12840670859538, 20, 35.87159329140463, 40]
    three(
        root,
        [
            ann(i, i, box)
            for i, box in enumerate((wide, [80, 20, 40.00000000000001, 40], [-1e-14, 20, 40, 40]))
        ],
    )
    lefts_rights = ((84.128, 120), (80, 120), (0, 40))
    return Right({f"{i}.jpg": [("gun", left, 20, right, 60)] for i, (left, right) in enumerate(lefts_rights)})


@case
def coco_same_names_in_parts(root):
    """Both parts have 0.jpg, and ids from 0."""
    for part, sides, number in (("train", A_SIDES, 3), ("val", B_SIDES, 2)):
        names = [f"{i}.jpg" for i in range(number)]
        for name in names:
            draw_image(root / part / name)
            with Image.open(
                root / part / name
            ) as image:  # of another shade in the other part, for it is no copy
                image.point(lambda grey, more=number: grey + 20 * more).save(root / part / name)
        found = [ann(i, i, sides) for i in range(number)]
        coco(root, found, listed(names), file=f"annotations/instances_{part}.json")
    right = {f"train/{i}.jpg": [GUN] for i in range(3)} | {f"val/{i}.jpg": [("gun", *B)] for i in range(2)}
    return Right(right, {"training": 3, "validation": 2})


# --- VOC ---


def voc_set(root, *texts, size=(120, 80)):
    draw_images(root, size=size)
    for i, text in enumerate(texts):
        (root / f"{i}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Right({f"{i}.jpg": [GUN] for i in range(3)})


@case
def voc_zero_size(root):
    sizes = ("<size><width>0</width><height>0</height></size>", "", "<size><width>120</width></size>")
    return voc_set(root, *(voc(gun(bnd(*A)), size) for size in sizes))


@case
def voc_part(root):
    """A part of an object has a box of its own, before and after the object's."""
    return voc_set(root, *[voc(f"<object>{PART}<name>gun</name>{bnd(*A)}{PART}</object>")] * 3)


@case
def voc_names(root):
    box = "<bndbox><xmax> 40.0 </xmax><xmin>10</xmin><ymax>60</ymax><ymin>\n20.00\n</ymin></bndbox>"
    names = ("hand gun", " hand gun\n", "hand gun")
    voc_set(root, *(voc(gun(box, f"<name>{name}</name>")) for name in names))
    return Right({f"{i}.jpg": [("hand gun", *A)] for i in range(3)})


@case
def voc_swapped(root):
    voc_set(root, voc(gun(bnd(40, 60, 10, 20))), *[voc(gun(bnd(*A)))] * 2)
    return Refused("its corners are swapped", ("1.jpg", "2.jpg"))


@case
def voc_wh(root):
    """The last two numbers are width and height."""
    size = "<size><width>478</width><height>850</height></size>"
    voc_set(root, *[voc(gun(bnd(217, 435, 61, 53)), size)] * 3, size=(478, 850))
    return Refused("All boxes fit if their numbers are left,top,width,height")


@case
def voc_gbk(root):
    knife = voc(gun(bnd(*A), "<name>刀具</name>"))
    heads = ("utf-8", "gbk", "gbk")
    voc_set(root, *(f'<?xml version="1.0" encoding="{head}"?>{knife}'.encode(head) for head in heads))
    return Right({f"{i}.jpg": [("刀具", *A)] for i in range(3)})


@case
def voc_robndbox(root):
    """roLabelImg's rotated box beside a plain one."""
    voc_set(root, *[voc(gun(bnd(*B)) + gun(TURNED))] * 3)
    return Right({f"{i}.jpg": [("gun", *B), ("gun", 10, 20, 40, 60)] for i in range(3)})


@case
def voc_no_object(root):
    right = voc_set(root, voc(""), *[voc(gun(bnd(*A)))] * 2)
    return Right({**right.boxes, "0.jpg": []})


@case
def voc_bmp_webp_same_stem(root):
    names = ["0.bmp", "1.tif", "2.webp", "3.jpeg"]
    draw_images(root / "images", names)
    (root / "labels").mkdir()
    for i, name in enumerate(names):
        (root / f"labels/{i}.xml").write_text(voc(f"<filename>{name}</filename>" + gun(bnd(*A))))
    return Right({name: [GUN] for name in names})


# --- YOLO ---


def yolo(root, *lines, names="names: [gun, knife]\n", suffix="jpg", orientation=None):
    """Two images of training and one of validation; a gun on each is right."""
    paths = [f"{part}/{i}" for i, part in enumerate(("train", "train", "val"))]
    for path, line in zip(paths, lines, strict=True):
        draw_image(root / f"images/{path}.{suffix}", orientation=orientation)
        (root / f"labels/{path}.txt").parent.mkdir(parents=True, exist_ok=True)
        if line is not None:
            (root / f"labels/{path}.txt").write_bytes(line.encode())
    (root / "data.yaml").write_text(f"path: .\n{TRAIN_VAL}{names}")
    return Right({f"{path}.{suffix}": [GUN] for path in paths}, {"training": 2, "validation": 1})


@case
def yolo_float_id(root):
    """A class 0.0, CRLF, blanks at the ends, a byte order mark."""
    lines = (f"0.0 {A_SHARES} \r\n", f"\ufeff0 {A_SHARES}\r\n\r\n", f"1 {A_SHARES}\t")
    right = yolo(root, *lines)
    return right._replace(boxes={**right.boxes, "val/2.jpg": [("knife", *A)]})


@case
def yolo_confidence(root):
    return yolo(root, *[f"0 {A_SHARES} 0.575787\n"] * 3)


@case
def yolo_commas(root):
    return yolo(root, *[f"0, {A_SHARES.replace(' ', ', ')}\n"] * 3)


@case
def yolo_decimal_commas(root):
    yolo(root, *[f"0 {A_SHARES}".replace(".", ",")] * 3)
    return Refused("decimal commas: write points")


@case
def yolo_pose2(root):
    return yolo(root, *[f"0 {A_SHARES} 0.1 0.3 0.9 0.9\n"] * 3, names="kpt_shape: [2, 2]\nnames: [gun]\n")


@case
def yolo_polygons_mixed(root):
    """A closed outline beside a box, and a rotated box of four corners."""
    closed = f"0 {OUTLINE} {10 / 120!r} {20 / 80!r}\n1 {70 / 120!r} 0.5 {40 / 120!r} 0.75\n"
    right = yolo(root, closed, f"0 {OUTLINE}", f"0 {A_SHARES}")
    return right._replace(boxes={**right.boxes, "train/0.jpg": [GUN, KNIFE]})


@case
def yolo_yaml_elsewhere(root):
    """The SOURCE is a data.yaml at the top, whose path: is a folder below."""
    right = yolo(root / "datasets/bags", *[f"0 {A_SHARES}"] * 3)
    (root / "datasets/bags/data.yaml").unlink()
    (root / "data.yaml").write_text(f"path: datasets/bags\n{TRAIN_VAL}names: [gun, knife]\n")
    return right._replace(source="data.yaml")


@case
def yolo_missing_txt(root):
    """An image without a label file is background where one says so."""
    right = yolo(root, f"0 {A_SHARES}", None, f"0 {A_SHARES}")
    return right._replace(boxes={**right.boxes, "train/1.jpg": []}, unlabelled="negative")


@case
def yolo_upper_suffix(root):
    return yolo(root, *[f"0 {A_SHARES}"] * 3, suffix="PNG")


@case
def yolo_same_stem(root):
    yolo(root, *[f"0 {A_SHARES}"] * 3)
    draw_image(root / "images/train/0.png")
    return Refused(
        "its image could be images/train/0.jpg or images/train/0.png", ("train/1.jpg", "val/2.jpg")
    )


@case
def yolo_subfolders(root):
    """dogs/1.jpg has labels, not_dogs/1.jpg has none."""
    for path in ("dogs/1", "dogs/2", "not_dogs/1"):
        draw_image(root / f"images/{path}.jpg")
    (root / "labels/dogs").mkdir(parents=True)
    for i in (1, 2):
        (root / f"labels/dogs/{i}.txt").write_text(f"0 {A_SHARES}")
    (root / "data.yaml").write_text("names: [gun]\n")
    right = {"dogs/1.jpg": [GUN], "dogs/2.jpg": [GUN], "not_dogs/1.jpg": []}
    return Right(right, unlabelled="negative")


@case
def yolo_one_based(root):
    yolo(root, f"1 {A_SHARES}", f"2 {A_SHARES}", f"2 {A_SHARES}")
    return Refused("the numbers seem to begin at 1")


@case
def yolo_exif(root):
    """Shares of the stored or of the turned pixels: nothing tells, so they stay, and the images are named."""
    right = yolo(root, *[f"0 {A_SHARES}"] * 3, orientation=6)
    turned = ("gun", 80 / 12, 30, 320 / 12, 90)
    return right._replace(boxes={path: [tuple(turned)] for path in right.boxes})


@case
def yolo_numeric_names(root):
    """YAML reads these names as numbers and as false."""
    names = ("0", "no", "1.5")
    right = yolo(root, *(f"{i} {A_SHARES}" for i in range(3)), names="nc: 3\nnames: ['0', 'no', 1.5]\n")
    return right._replace(boxes={path: [(name, *A)] for path, name in zip(right.boxes, names, strict=True)})


# --- tables and others ---


def table(root, text, file="boxes.csv", encoding="utf-8"):
    draw_images(root)
    (root / file).write_bytes(text.encode(encoding))
    return Right({f"{i}.jpg": [GUN] for i in range(3)})


@case
def open_images(root):
    """One table with groups of objects, and readable names beside it."""
    names = [f"00{i}.jpg" for i in range(3)]
    draw_images(root / "images", names)
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
    rows = [f"00{i},xclick,/m/01,1,{10 / 120},{40 / 120},0.25,0.75,0,0,{int(i == 2)}" for i in range(3)]
    (root / "train-annotations-bbox.csv").write_text("\n".join([header, *rows]))
    (root / "class-descriptions-boxable.csv").write_text("/m/01,gun\n/m/02,Knife\n")
    return Right({f"images/{name}": [GUN] for name in names})


@case
def csv_tf(root):
    """The SOURCE is the table of TensorFlow's object detection."""
    rows = "".join(f"{i}.jpg,120,80,gun,10,20,40,60\n" for i in range(3))
    right = table(root, f"filename,width,height,class,xmin,ymin,xmax,ymax\n{rows}", "labels.csv")
    return right._replace(source="labels.csv")


@case
def boxes_csv_semicolons(root):
    rows = "".join(f"{i}.jpg;10,5;20;40;60;gun\n" for i in range(3))
    table(root, f"image;left;top;right;bottom;class\n{rows}")
    return Refused("is separated by semicolons, not by commas")


@case
def boxes_csv_cp1252(root):
    table(root, "image,left,top,right,bottom,class\n0.jpg,10,20,40,60,Säge\n", encoding="cp1252")
    return Refused("is not UTF-8 text")


@case
def dense(root):
    """702 cells on an image."""
    draw_images(root, size=(640, 640))
    places = [(x, y) for x in range(2, 620, 24) for y in range(2, 620, 23)]
    rows = "".join(f"{i}.jpg,{x},{y},{x + 15},{y + 15},cell\n" for i in range(3) for x, y in places)
    (root / "boxes.csv").write_text(f"image,left,top,right,bottom,class\n{rows}")
    cells = [("cell", x, y, x + 15, y + 15) for x, y in places]
    return Right({f"{i}.jpg": cells for i in range(3)})


@case
def cvat_xml(root):
    names = [f"{i}.jpg" for i in range(3)]
    draw_images(root / "images", names)
    box = '<box label="gun" source="manual" occluded="0" xtl="10.00" ytl="20.00" xbr="40.00" ybr="60.00" z_order="0"/>'
    images = "".join(f'<image name="{name}" width="120" height="80">{box}</image>' for name in names)
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    return Right({f"images/{name}": [GUN] for name in names})


@case
def labelme_json(root):
    draw_images(root)
    shape = {"label": "gun", "points": [[40, 60], [10, 20]], "shape_type": "rectangle"}
    for i in range(3):
        whole = {"shapes": [shape], "imagePath": f"{i}.jpg", "imageHeight": 80, "imageWidth": 120}
        (root / f"{i}.json").write_text(json.dumps({"version": "5.0", "flags": {}, **whole}))
    return Right({f"{i}.jpg": [GUN] for i in range(3)})


# --- what is asked of each ---


def test_every_report_is_a_case_here_or_a_layout():
    assert len(ALL) == len(set(ALL)) == 64
    assert set(ALL) == CASES.keys() | (LAYOUTS.keys() & set(ALL))
    assert not CASES.keys() & LAYOUTS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_report_is_read_rightly_or_refused_and_checked_the_same(name, tmp_path):
    wanted = CASES[name](tmp_path)
    if isinstance(wanted, Right):
        source = tmp_path / wanted.source if wanted.source else tmp_path
        assert refusals(source, wanted.unlabelled) == set()
        boxes = read_boxes(source, unlabelled=wanted.unlabelled)
        assert got(boxes) == {
            path: [(name, *(pytest.approx(value, abs=0.001) for value in box)) for name, *box in some]
            for path, some in wanted.boxes.items()
        }
        counts = {part: boxes.parts.count(part) for part in set(boxes.parts) - {None}}
        assert counts == wanted.parts == check_source(str(source), unlabelled=wanted.unlabelled).parts
        return
    assert refusals(tmp_path)
    with pytest.raises(DataFault) as refused:
        read_boxes(tmp_path)
    assert wanted.words in f"{refused.value.problem} {refused.value.remedy}"
    if wanted.kept:
        assert read_boxes(tmp_path, faults="clip", unlabelled="skip").paths == wanted.kept
    else:
        with pytest.raises(DataFault):
            read_boxes(tmp_path, faults="clip")


def test_what_a_report_says_beside_its_boxes(tmp_path):
    CASES["yolo_exif"](tmp_path / "turned")
    found = [one for one in check_source(str(tmp_path / "turned")).findings if one.kind == "either-form"]
    assert [one.paths for one in found] == [("train/0.jpg",), ("train/1.jpg",), ("val/2.jpg",)]
    CASES["coco_rle_crowd"](tmp_path / "crowd")
    boxes = read_boxes(tmp_path / "crowd")
    assert [flags.tolist() for flags in boxes.crowd] == [[False, True], [False], [False]]
    assert not np.concatenate(boxes.difficult).any()
    CASES["open_images"](tmp_path / "groups")
    assert [flags.tolist() for flags in read_boxes(tmp_path / "groups").crowd] == [[False], [False], [True]]
    CASES["yolo_confidence"](tmp_path / "scores")
    assert read_boxes(tmp_path / "scores").box_columns == {"confidence": (("0.575787",),) * 3}
