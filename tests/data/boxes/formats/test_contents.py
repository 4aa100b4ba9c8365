"""What public tools write, read with the right boxes or refused by name; each case is from a public report."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import examine_boxes, read_boxes
from tlkit.data.boxes.formats.outlines import around_coco, around_turned
from tlkit.data.boxes.formats.stated_sizes import TURNS
from tlkit.data.boxes.sizes import tiny_boxes
from tlkit.data.checks.check import check_source
from tlkit.data.images.findings import ERROR
from tlkit.errors import DataFault

A, B = (10, 20, 40, 60), (50, 10, 90, 70)  # left, top, right, bottom
A_SIDES, B_SIDES = [10, 20, 30, 40], [50, 10, 40, 60]
A_SHARES = " ".join(map(repr, (25 / 120, 0.5, 0.25, 0.5)))
SIZE = (120, 80)
THREE = {f"{i}.jpg": [("gun", *A)] for i in range(3)}
YOLO = {f"{i}.jpg": [("gun", *A)] for i in range(3)}


def draw_image(file, size=SIZE, orientation=None, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    # Another grey for each, so that no two are copies.
    grey = 40 + 13 * sum(map(ord, file.stem)) % 150
    Image.new("RGB", size, (grey, grey, grey)).save(
        file, **({"exif": exif.tobytes()} if orientation else {}), **options
    )


def draw_images(root, names=("0.jpg", "1.jpg", "2.jpg"), **how):
    for name in names:
        draw_image(root / name, **how)


def got(boxes):
    """Path -> (class, corners rounded to a thousandth of a pixel)."""
    rows = zip(boxes.paths, boxes.labels, boxes.xyxy, strict=True)
    return {
        path: [
            (boxes.class_names[k], *(round(v, 3) for v in box))
            for k, box in zip(labels, xyxy.tolist(), strict=True)
        ]
        for path, labels, xyxy in rows
    }


def refusals(source, unlabelled="error"):
    """Kinds that `check` calls errors and that `read_boxes` refuses, which must be the same."""
    found = check_source(str(source), unlabelled=unlabelled).findings
    kinds = {one.kind for one in found if one.severity == ERROR} - {"one-class", "empty-class"}
    problem = ""
    try:
        read_boxes(source, unlabelled=unlabelled)
    except DataFault as fault:
        problem = fault.problem
    assert bool(problem) == bool(kinds), f"check says {kinds}, and a run says {problem or 'nothing'}"
    assert all(kind in problem for kind in kinds - {"annotations"})
    return kinds


# --- COCO ---


def ann(number, image, box, category=1, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more}


def coco(root, annotations, images=None, categories=({"id": 1, "name": "gun"},), size=SIZE, **how):
    draw_images(root, **how)
    listed = [{"id": i, "file_name": f"{i}.jpg", "width": size[0], "height": size[1]} for i in range(3)]
    whole = {"images": images or listed, "annotations": annotations, "categories": list(categories)}
    (root / "a.json").write_text(json.dumps(whole))
    return root


def each(box, **more):
    return [ann(i, i, box, **more) for i in range(3)]


RING = [[10, 20, 40, 20, 40, 60, 10, 60]]
RUNS = [10 * 80 + 20, *[40, 40] * 29, 40, 80 * 120 - (39 * 80 + 60)]  # A, down the columns of 80


def packed(runs):
    """COCO's compressed runs, as its API writes them: an oracle of its own."""
    letters = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            code, value = value & 0x1F, value >> 5
            more = value != -1 if code & 0x10 else value != 0
            letters.append(chr((code | 0x20 if more else code) + 48))
    return "".join(letters)


def without_box(segmentation):
    return [{"id": i, "image_id": i, "category_id": 1, "segmentation": segmentation} for i in range(3)]


COCO_RIGHT = {
    "text ids of images": {"images": [{"id": str(i), "file_name": f"{i}.jpg"} for i in range(3)]},
    "ids 0.0": {"annotations": [ann(i, float(i), A_SIDES, 1.0) for i in range(3)]},
    "text ids of categories": {"categories": [{"id": "1", "name": "gun"}]},
    "names for numbers of categories": {"annotations": [ann(i, i, A_SIDES, "gun") for i in range(3)]},
    "numbers as text": {"annotations": each([str(v) for v in A_SIDES])},
    "polygon without bbox": {"annotations": without_box(RING)},
    "one flat polygon": {"annotations": without_box(RING[0])},
    "polygon of two pieces": {"annotations": without_box([RING[0][:6], RING[0][2:]])},
    "bbox []": {"annotations": each([], segmentation=RING)},
    "bbox null": {"annotations": each(None, segmentation=RING)},
    "mask in runs": {"annotations": without_box({"counts": RUNS, "size": [80, 120]})},
    "mask packed": {"annotations": without_box({"counts": packed(RUNS), "size": [80, 120]})},
    "twice the size": {"annotations": each([2 * v for v in A_SIDES]), "size": (240, 160)},
    "1300x866 became 120x80": {
        "annotations": each([v * 1300 / 120 for v in A_SIDES]),
        "size": (1300, 866.667),
    },
    "no size": {"images": [{"id": i, "file_name": f"{i}.jpg", "width": 0, "height": None} for i in range(3)]},
    "rounding": {"annotations": each([10, 20, 30 + 1e-14, 40 + 1e-14])},
}


@pytest.mark.parametrize("name", COCO_RIGHT)
def test_coco_with_one_meaning_is_read(name, tmp_path):
    source = coco(tmp_path, **{"annotations": each(A_SIDES), **COCO_RIGHT[name]})
    boxes = read_boxes(source)
    assert refusals(source) == set()
    wanted = {
        path: [(k, *(pytest.approx(v, abs=0.05) for v in box)) for k, *box in some]
        for path, some in THREE.items()
    }
    assert got(boxes) == (wanted if "866" in name else THREE)


def test_coco_edges_by_rounding_are_the_image_s(tmp_path):
    written = (
        [84.12840670859538, 20, 35.87159329140463, 40],
        [80, 20, 40.00000000000001, 40],
        [-1e-14, 20, 40, 40],
    )
    boxes = read_boxes(coco(tmp_path, [ann(i, i, box) for i, box in enumerate(written)]))
    assert boxes.notes == ()
    assert got(boxes) == {
        "0.jpg": [("gun", 84.128, 20, 120, 60)],
        "1.jpg": [("gun", 80, 20, 120, 60)],
        "2.jpg": [("gun", 0, 20, 40, 60)],
    }


COCO_WRONG = {
    "NaN": ("no-number", {"annotations": [ann(0, 0, [1, math.nan, 3, 4]), *each(A_SIDES)[1:]]}),
    "three numbers": ("no-number", {"annotations": [ann(0, 0, [1, 2, 3]), *each(A_SIDES)[1:]]}),
    "null inside": ("no-number", {"annotations": [ann(0, 0, [1, 2, None, 4]), *each(A_SIDES)[1:]]}),
    "true inside": ("no-number", {"annotations": [ann(0, 0, [True, 2, 3, 4]), *each(A_SIDES)[1:]]}),
    "a table": ("no-number", {"annotations": [ann(0, 0, {"x": 1}), *each(A_SIDES)[1:]]}),
    "neither box nor outline": ("no-number", {"annotations": [ann(0, 0, []), *each(A_SIDES)[1:]]}),
    "half an outline": (
        "no-number",
        {"annotations": [ann(0, 0, None, segmentation=[[1, 2, 3]]), *each(A_SIDES)[1:]]},
    ),
    "broken runs": (
        "no-number",
        {
            "annotations": [
                ann(0, 0, None, segmentation={"counts": [5, -1], "size": [80, 120]}),
                *each(A_SIDES)[1:],
            ]
        },
    ),
    "negative sides": ("inverted", {"annotations": [ann(0, 0, [40, 60, -5, 3]), *each(A_SIDES)[1:]]}),
    "no width": ("zero-size", {"annotations": [ann(0, 0, [40, 60, 0, 3]), *each(A_SIDES)[1:]]}),
    "unknown category": ("unknown-class", {"annotations": [ann(0, 0, A_SIDES, 7), *each(A_SIDES)[1:]]}),
    "no category": ("unknown-class", {"annotations": [ann(0, 0, A_SIDES, None), *each(A_SIDES)[1:]]}),
    "two images with one id": (
        "image-id",
        {
            "images": [{"id": (0, 0, 2)[i], "file_name": f"{i}.jpg"} for i in range(3)],
            "annotations": [ann(5, 2, A_SIDES)],
        },
    ),
    "one file as two images": (
        "duplicate",
        {
            "images": [{"id": i, "file_name": f"{(0, 0, 2)[i]}.jpg"} for i in range(3)],
            "annotations": [ann(0, 0, A_SIDES), ann(1, 1, B_SIDES), ann(2, 2, A_SIDES)],
            "names": ("0.jpg", "2.jpg"),
        },
    ),
}


@pytest.mark.parametrize("name", COCO_WRONG)
def test_coco_without_one_meaning_leaves_its_whole_image_out(name, tmp_path):
    kind, changes = COCO_WRONG[name]
    source = coco(tmp_path, **{"annotations": each(A_SIDES), **changes})
    assert refusals(source) == {kind}
    mended = read_boxes(source, faults="clip")
    assert got(mended) == {
        path: some for path, some in THREE.items() if path == "2.jpg" or (path == "1.jpg" and kind not in {"image-id", "duplicate"})
    }  # fmt: skip
    assert "no one meaning" in mended.told[0]


def test_a_category_of_two_names_is_refused(tmp_path):
    source = coco(tmp_path, each(A_SIDES), categories=[{"id": 1, "name": "gun"}, {"id": 1, "name": "knife"}])
    with pytest.raises(DataFault, match="category 1 twice, as gun and as knife"):
        read_boxes(source, faults="clip")


def test_coco_ids_with_gaps_crowds_and_a_row_that_owns_nothing(tmp_path):
    names = ({"id": 90, "name": "knife"}, {"id": 7, "name": "gun"}, {"id": 0, "name": "weapons"})
    crowd = ann(2, 0, B_SIDES, 7, iscrowd=1, segmentation={"counts": [0, 10, 9590], "size": [80, 120]})
    source = coco(tmp_path, [ann(0, 0, A_SIDES, 90), ann(1, 1, A_SIDES, 7), crowd], categories=names)
    boxes = read_boxes(source)
    assert boxes.class_names == ("weapons", "gun", "knife")
    assert got(boxes) == {"0.jpg": [("knife", *A), ("gun", *B)], "1.jpg": [("gun", *A)], "2.jpg": []}
    assert refusals(source) == set()  # a class without boxes is no fault for either
    assert "empty-class" in {one.kind for one in check_source(str(source)).findings}


def test_a_box_over_the_edge_is_not_clipped_where_all_fit_in_another_order(tmp_path):
    corners = (
        [10, 20, 40, 60],
        [20, 20, 110, 50],
        [5, 5, 30, 30],
    )  # left, top, right, bottom of some converter
    source = coco(tmp_path, [ann(i, i, box) for i, box in enumerate(corners)])
    with pytest.raises(DataFault, match="1 out-of-image") as refused:
        read_boxes(source)
    assert "All boxes fit if their numbers are left,top,right,bottom" in refused.value.remedy
    assert read_boxes(source, faults="clip").paths == ("0.jpg", "2.jpg")


# --- stated sizes and EXIF ---


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("factor", [1, 2])
def test_boxes_of_the_stored_image_are_turned_as_exif_turns_it(orientation, factor, tmp_path):
    """Against Pillow's own turning of a drawn block."""
    from PIL import ImageOps

    stored = Image.new("L", (96, 64))
    stored.paste(255, (16, 24, 40, 56))  # whole blocks of JPEG
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = coco(tmp_path, each([v * factor for v in (16, 24, 24, 32)]), size=(96 * factor, 64 * factor))
    for i in range(3):
        stored.save(tmp_path / f"{i}.jpg", exif=exif.tobytes(), quality=95)
    with Image.open(tmp_path / "0.jpg") as opened:
        shown = np.asarray(ImageOps.exif_transpose(opened)) > 128
    down, across = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    block = (across[0], down[0], across[-1] + 1, down[-1] + 1)
    examined = examine_boxes(source)
    assert examined.faults == []
    kinds = {fault.kind for fault in examined.remarks}
    sideways = orientation >= 5
    if sideways:
        assert got(examined.boxes)["0.jpg"] == [("gun", *block)]
        assert kinds == {"turned-boxes" if factor == 1 else "scaled-boxes"}
    else:  # its size is the same either way, so that nothing tells
        assert got(examined.boxes)["0.jpg"] == [("gun", 16, 24, 40, 56)]
        assert kinds == ({"either-form"} if factor == 1 else {"scaled-boxes"})
    assert "0.jpg" in {
        path for one in check_source(str(source)).findings for path in one.paths if one.kind in kinds
    }


SIZES = {
    "as shown": ((80, 120), 6, SIZE, set(), A),
    "sides changed over": ((80, 120), None, SIZE, {"image-size"}, None),
    "of another image": ((640, 480), None, SIZE, {"image-size"}, None),
    "of another image, turned": ((640, 480), 6, SIZE, {"image-size"}, None),
    "square and turned": ((80, 80), 6, (80, 80), set(), A),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_stated_size_tells_in_whose_pixels_boxes_are(name, tmp_path):
    stated, orientation, size, refused, wanted = SIZES[name]
    source = coco(tmp_path, each(A_SIDES), size=stated, orientation=orientation)
    for i in range(3):
        draw_image(tmp_path / f"{i}.jpg", size, orientation)
    assert refusals(source) == refused
    if wanted:
        assert got(read_boxes(source)) == {f"{i}.jpg": [("gun", *wanted)] for i in range(3)}
    kinds = {one.kind for one in check_source(str(source)).findings}
    assert ("either-form" in kinds) == (name == "square and turned")


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_boxes_of_a_turned_png_or_webp_are_turned_as_its_decoder_turns_it(suffix, tmp_path):
    """Orientation 6 shows 120 x 80 as 80 x 120: (x, y) of the stored pixels becomes (80 - y, x)."""
    images = [{"id": i, "file_name": f"{i}.{suffix}", "width": 120, "height": 80} for i in range(3)]
    names = [f"{i}.{suffix}" for i in range(3)]
    boxes = read_boxes(coco(tmp_path, each(A_SIDES), images, names=names, orientation=6))
    left, top, right, bottom = A
    turned = [80 - bottom, left, 80 - top, right]
    assert got(boxes) == {name: [("gun", *turned)] for name in names}


# --- VOC ---


def bnd(left, top, right, bottom):
    return f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"


def voc(inner, size="<size><width>120</width><height>80</height></size>"):
    return f"<annotation>{size}{inner}</annotation>"


def gun(box, name="<name>gun</name>"):
    return f"<object>{name}{box}</object>"


PART = f"<part><name>head</name>{bnd(12, 22, 20, 30)}</part>"
POLYGON = "<polygon><x1>10</x1><y1>20</y1><x2>40</x2><y2>20</y2><x3>40</x3><y3>60</y3></polygon>"
LABELME_WEB = "<polygon><pt><x>10</x><y>60</y></pt><pt><x>40</x><y>20</y></pt></polygon>"
TURNED = "<robndbox><cx>25</cx><cy>40</cy><w>40</w><h>30</h><angle>1.5707963267948966</angle></robndbox>"
VOC_RIGHT = {
    "plain": voc(gun(bnd(*A))),
    "parts before and after": voc(f"<object>{PART}<name>gun</name>{bnd(*A)}{PART}</object>"),
    "blanks and newlines": voc(gun(bnd(" 10 ", "\n20.00\n", 40.0, 60), "<name> gun\n</name>")),
    "the same name twice": voc(gun(bnd(*A), "<name>gun</name><name>gun</name>")),
    "size 0": voc(gun(bnd(*A)), "<size><width>0</width><height>0</height></size>"),
    "no size": voc(gun(bnd(*A)), ""),
    "twice the size": voc(gun(bnd(20, 40, 80, 120)), "<size><width>240</width><height>160</height></size>"),
    "rotated box": voc(gun(TURNED)),
    "polygon": voc(gun(POLYGON)),
    "points": voc(gun(LABELME_WEB)),
}


@pytest.mark.parametrize("name", VOC_RIGHT)
def test_voc_with_one_meaning_is_read(name, tmp_path):
    draw_images(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.xml").write_text(VOC_RIGHT[name])
    assert got(read_boxes(tmp_path)) == THREE
    assert refusals(tmp_path) == set()


@pytest.mark.parametrize("encoding", ["gbk", "gb2312", "big5", "shift_jis", "utf-8", "utf-16"])
def test_voc_in_the_encoding_that_it_declares(encoding, tmp_path):
    draw_images(tmp_path)
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + voc(
        gun(bnd(*A), "<name>刀具</name>".replace("刀", "刀"))
    )
    if encoding in {"big5", "shift_jis"}:
        text = text.replace("刀具", "刀")
    for i in range(3):
        (tmp_path / f"{i}.xml").write_bytes(text.encode(encoding))
    assert [len(some) for some in read_boxes(tmp_path).xyxy] == [1, 1, 1]
    assert read_boxes(tmp_path).class_names[0].startswith("刀")


def test_a_declaration_in_gbk_is_refused_as_in_any_encoding(tmp_path):
    draw_images(tmp_path)
    text = '<?xml version="1.0" encoding="gbk"?><!DOCTYPE a [<!ENTITY b "c">]>' + voc(gun(bnd(*A)))
    (tmp_path / "0.xml").write_bytes(text.encode("gbk"))
    with pytest.raises(DataFault, match="declares a document type"):
        read_boxes(tmp_path, faults="clip")


VOC_WRONG = {
    "swapped corners": ("inverted", gun(bnd(40, 60, 10, 20))),
    "a number missing": ("no-number", gun("<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax></bndbox>")),
    "decimal comma": ("no-number", gun(bnd("10,5", 20, 40, 60))),
    "no name": ("unknown-class", gun(bnd(*A), "")),
    "two names": ("unknown-class", gun(bnd(*A), "<name>gun</name><name>knife</name>")),
    "two boxes": ("no-number", gun(bnd(*A) + bnd(*B))),
    "no box": ("no-number", gun("")),
    "rotated by nothing": ("no-number", gun(TURNED.replace("1.57", "x1.57"))),
}


@pytest.mark.parametrize("name", VOC_WRONG)
def test_voc_without_one_meaning_leaves_its_whole_image_out(name, tmp_path):
    kind, broken = VOC_WRONG[name]
    draw_images(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.xml").write_text(voc((broken if i == 0 else "") + gun(bnd(*A))))
    assert refusals(tmp_path) == {kind}
    assert got(read_boxes(tmp_path, faults="clip")) == {path: THREE[path] for path in ("1.jpg", "2.jpg")}


def test_corners_that_are_width_and_height_are_told_and_no_image_is_kept(tmp_path):
    draw_images(tmp_path, size=(478, 850))
    for i, box in enumerate(
        ((217, 435, 61, 53), (300, 100, 61, 53), (5, 5, 61, 53))
    ):  # the last fits as corners too
        (tmp_path / f"{i}.xml").write_text(voc(gun(bnd(*box)), ""))
    for faults in ("refuse", "clip"):
        with pytest.raises(DataFault, match="2 inverted") as refused:
            read_boxes(tmp_path, faults=faults)
        assert refused.value.remedy.startswith("All boxes fit if their numbers are left,top,width,height.")
    remedies = {one.remedy for one in check_source(str(tmp_path)).findings if one.kind == "inverted"}
    assert remedies == {refused.value.remedy}


# --- YOLO ---


def yolo(root, *lines, names="names: [gun, knife]\n"):
    for i, line in enumerate(lines):
        draw_image(root / "images" / f"{i}.jpg")
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{i}.txt").write_bytes(line.encode())
    (root / "data.yaml").write_text(names)
    return root


OUTLINE = " ".join(f"{x / 120!r} {y / 80!r}" for x, y in ((10, 20), (40, 20), (40, 60), (10, 60)))
YOLO_RIGHT = {
    "class 0.0, CRLF, blanks": f"0.0 {A_SHARES} \r\n\r\n",
    "byte order mark": f"\ufeff0 {A_SHARES}\n",
    "tabs": f"0\t{A_SHARES}\t".replace(" ", "\t"),
    "commas": f"0, {A_SHARES.replace(' ', ', ')}\n",
    "commas alone": f"0,{A_SHARES.replace(' ', ',')}",
    "semicolons": f"0;{A_SHARES.replace(' ', ';')}",
    "a confidence": f"0 {A_SHARES} 0.575787\n",
    "a name": f"gun {A_SHARES}\n",
    "comments": f"# drawn by hand\n0 {A_SHARES} # gun\n",
    "an outline": f"0 {OUTLINE}",
    "a closed outline": f"0 {OUTLINE} {10 / 120!r} {20 / 80!r}",
}


@pytest.mark.parametrize("name", YOLO_RIGHT)
def test_yolo_with_one_meaning_is_read(name, tmp_path):
    source = yolo(tmp_path, *[YOLO_RIGHT[name]] * 3)
    assert got(read_boxes(source)) == YOLO
    assert refusals(source) == set()


def test_yolo_names_of_several_words_and_names_that_are_numbers(tmp_path):
    source = yolo(tmp_path / "a", f"hand gun {A_SHARES}", names="names: ['hand', 'hand gun']")
    assert got(read_boxes(source)) == {"0.jpg": [("hand gun", *A)]}
    source = yolo(tmp_path / "b", f"1 {A_SHARES}", names="names: ['1', 'no', 1.5]")
    assert got(read_boxes(source)) == {"0.jpg": [("no", *A)]}


def test_a_confidence_is_kept_as_a_fact_of_the_box(tmp_path):
    boxes = read_boxes(yolo(tmp_path, f"0 {A_SHARES} 0.5"))
    assert boxes.box_columns == {"confidence": (("0.5",),)}


@pytest.mark.parametrize(
    ("shape", "more"), [("[2, 2]", "0.1 0.3 0.9 0.9"), ("[1, 3]", "0.1 0.3 2"), ("\n- 1\n- 2", "0 1")]
)
def test_pose_labels_are_a_box_and_keypoints(shape, more, tmp_path):
    source = yolo(
        tmp_path, f"0 {A_SHARES} {more}", f"0 {A_SHARES}", names=f"kpt_shape: {shape}\nnames: [gun]\n"
    )
    assert got(read_boxes(source)) == {"0.jpg": [("gun", *A)], "1.jpg": [("gun", *A)]}


YOLO_WRONG = {
    "decimal commas": ("no-number", f"0 {A_SHARES}".replace(".", ","), "decimal commas: write points"),
    "three numbers": ("no-number", "0 0.5 0.5 0.1", "box 0.5 0.5 0.1 is not four numbers"),
    "class alone": ("no-number", "0", "is not four numbers"),
    "nan": ("no-number", "0 nan 0.5 0.1 0.1", "box nan 0.5 0.1 0.1 is not four numbers"),
    "a confidence of 7": ("no-number", f"0 {A_SHARES} 7", "is not four numbers"),
    "an outline with an odd number": ("no-number", f"0 {OUTLINE} 0.5", "is not four numbers"),
    "class 0.5": ("unknown-class", f"0.5 {A_SHARES}", "class 0.5 is not among the 2 names"),
    "class -1": ("unknown-class", f"-1 {A_SHARES}", "class -1 is not among the 2 names"),
    "an unknown name": ("unknown-class", f"sword {A_SHARES}", "class sword is not among the 2 names"),
    "a negative side": ("inverted", "0 0.5 0.5 -0.1 0.1", "ends before it begins"),
}


@pytest.mark.parametrize("name", YOLO_WRONG)
def test_yolo_without_one_meaning_leaves_its_whole_image_out(name, tmp_path):
    kind, line, said = YOLO_WRONG[name]
    source = yolo(tmp_path, f"0 {A_SHARES}\n{line}", f"0 {A_SHARES}")
    assert refusals(source) == {kind}
    mended = read_boxes(source, faults="clip")
    assert got(mended) == {"1.jpg": [("gun", *A)]}
    assert said in mended.notes[0]


def test_numbers_of_classes_that_begin_at_one_are_no_matter_of_single_images(tmp_path):
    source = yolo(tmp_path, f"1 {A_SHARES}", f"2 {A_SHARES}", f"2 {A_SHARES}")
    for faults in ("refuse", "clip"):
        with pytest.raises(DataFault, match="class 2 is not among the 2 names") as refused:
            read_boxes(source, faults=faults)
        assert "the numbers seem to begin at 1" in refused.value.remedy
    assert refusals(source) == {"unknown-class"}


def test_pixels_where_shares_belong_are_told(tmp_path):
    source = yolo(tmp_path, "0 25 40 30 40", "0 30 40 30 40")
    with pytest.raises(DataFault) as refused:
        read_boxes(source, faults="clip")
    assert "All boxes fit if their numbers are pixels" in refused.value.remedy


def test_turned_images_of_a_format_without_sizes_are_named_and_not_turned(tmp_path):
    source = yolo(tmp_path, f"0 {A_SHARES}", f"0 {A_SHARES}")
    draw_image(tmp_path / "images" / "0.jpg", orientation=6)
    boxes = read_boxes(source)
    assert got(boxes)["0.jpg"] == [("gun", 6.667, 30, 26.667, 90)]  # shares of 80x120
    assert boxes.told == (
        "1 either-form in 1 image, its boxes are taken as drawn on the turned image: 0.jpg.",
    )
    (found,) = (one for one in check_source(str(source)).findings if one.kind == "either-form")
    assert found.paths == ("0.jpg",)


# --- tables ---


TABLES = {
    "TensorFlow": ("filename,width,height,class,xmin,ymin,xmax,ymax", "{},120,80,gun,10,20,40,60"),
    "TensorFlow, twice the size": (
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "{},240,160,gun,20,40,80,120",
    ),
    "VoTT": ('"image","xmin","ymin","xmax","ymax","label"', '"{}",10.0,20.0,40.0,60.0,"gun"'),
    "makesense": (
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height",
        "gun,10,20,30,40,{},120,80",
    ),
    "in capitals": ("Filename,Xmin,Ymin,Xmax,Ymax,Class", "{},10,20,40,60,gun"),
    "left, top, sides": ("image,left,top,width,height,class", "{},10,20,30,40,gun"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_tools(name, tmp_path):
    header, row = TABLES[name]
    draw_images(tmp_path)
    (tmp_path / "labels.csv").write_text(
        "\r\n".join([header, *(row.format(f"{i}.jpg") for i in range(3)), ""])
    )
    for source in (tmp_path, tmp_path / "labels.csv"):
        assert got(read_boxes(source)) == THREE
        assert refusals(source) == set()


def test_sides_of_the_box_beside_its_corners_are_no_size_of_the_image(tmp_path):
    draw_images(tmp_path, ["0.jpg", "1.jpg"])
    text = "image,left,top,right,bottom,class,width,height\n0.jpg,10,20,40,60,gun,30,40\n1.jpg,10,20,40,60,gun,30,40\n"
    (tmp_path / "boxes.csv").write_text(text)
    assert got(read_boxes(tmp_path)) == {path: THREE[path] for path in ("0.jpg", "1.jpg")}


def test_two_tables_say_the_parts(tmp_path):
    for part in ("train", "test"):
        draw_images(tmp_path, [f"{part}.jpg"])
        row = f"{part}.jpg,120,80,gun,10,20,40,60"
        (tmp_path / f"{part}_labels.csv").write_text(f"{TABLES['TensorFlow'][0]}\n{row}\n")
    boxes = read_boxes(tmp_path)
    assert dict(zip(boxes.paths, boxes.parts, strict=True)) == {"train.jpg": "training", "test.jpg": "test"}


BAD_TABLES = {
    "semicolons": (
        "image;left;top;right;bottom;class\n0.jpg;10,5;20;40;60;gun\n",
        "is separated by semicolons",
    ),
    "tabs": ("image\tleft\ttop\tright\tbottom\tclass\n0.jpg\t10\t20\t40\t60\tgun\n", "is separated by tabs"),
    "decimal commas": (
        "image,left,top,right,bottom,class\n0.jpg,10,5,20,40,60,gun\n",
        "has 7 cells, and the header has 6",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_are_no_csv_are_named(name, tmp_path):
    text, said = BAD_TABLES[name]
    draw_images(tmp_path)
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataFault, match=said):
        read_boxes(tmp_path, faults="clip")
    assert refusals(tmp_path) == {"annotations"}


def test_a_table_of_another_name_and_mark_is_named_too(tmp_path):
    draw_images(tmp_path)
    (tmp_path / "labels.csv").write_text(BAD_TABLES["semicolons"][0])
    with pytest.raises(DataFault, match="labels.csv is a table separated by semicolons, which is not read"):
        read_boxes(tmp_path)


def test_open_images_rows_without_a_class_leave_their_image_out(tmp_path):
    draw_images(tmp_path)
    rows = [f"{i},x,{'' if i == 1 else 'gun'},1,{10 / 120},{40 / 120},0.25,0.75" for i in range(3)]
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"
    (tmp_path / "train-annotations-bbox.csv").write_text("\n".join([header, *rows]))
    assert refusals(tmp_path) == {"unknown-class"}
    assert got(read_boxes(tmp_path, faults="clip")) == {path: THREE[path] for path in ("0.jpg", "2.jpg")}


def test_a_table_in_windows_1252_is_named(tmp_path):
    draw_images(tmp_path)
    (tmp_path / "boxes.csv").write_bytes(
        "image,left,top,right,bottom,class\n0.jpg,10,20,40,60,Säge\n".encode("cp1252")
    )
    with pytest.raises(DataFault, match="is not UTF-8 text"):
        read_boxes(tmp_path)


# --- CVAT, labelme, VIA ---

CVAT = {
    "box": '<box label="gun" occluded="1" xtl="10.00" ytl="20.00" xbr="40.00" ybr="60.00"/>',
    "rotated box": '<box label="gun" xtl="5" ytl="25" xbr="45" ybr="55" rotation="90.00"/>',
    "polygon": '<polygon label="gun" points="10.00,20.00;40.00,20.00;40.00,60.00"/>',
    "ellipse": '<ellipse label="gun" cx="25" cy="40" rx="15" ry="20"/>',
    "ellipse on its side": '<ellipse label="gun" cx="25" cy="40" rx="20" ry="15" rotation="90"/>',
    "mask": '<mask label="gun" rle="1, 2" left="10" top="20" width="30" height="40"/>',
    "cuboid": '<cuboid label="gun" xtl1="10" ytl1="20" xbl1="10" ybl1="60" xtr2="40" ytr2="25" xbr2="40" ybr2="55"/>',
}


def cvat(root, *objects, size=SIZE, more=""):
    for i, inner in enumerate(objects):
        draw_image(root / "images" / f"{i}.jpg")
        more += f'<image id="{i}" name="{i}.jpg" width="{size[0]}" height="{size[1]}">{inner}</image>'
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{more}</annotations>")
    return root


@pytest.mark.parametrize("name", CVAT)
def test_cvat_for_images(name, tmp_path):
    source = cvat(tmp_path, CVAT[name], "")
    wanted = {"images/0.jpg": [("gun", *A)], "images/1.jpg": []}
    assert got(read_boxes(source)) == wanted
    assert got(read_boxes(source / "annotations.xml")) == wanted
    assert refusals(source) == set()


def test_cvat_states_sizes_classes_attributes_and_subsets(tmp_path):
    names = "".join(f"<label><name>{name}</name></label>" for name in ("knife", "gun"))
    inner = '<box label="gun" occluded="1" xtl="20" ytl="40" xbr="80" ybr="120"><attribute name="made">X</attribute></box>'
    source = cvat(
        tmp_path, inner, size=(240, 160), more=f"<meta><task><labels>{names}</labels></task></meta>"
    )
    file = source / "annotations.xml"
    file.write_text(file.read_text().replace('<image id="0"', '<image id="0" subset="Train"'))
    boxes = read_boxes(source)
    assert (got(boxes), boxes.class_names, boxes.parts) == (
        {"images/0.jpg": [("gun", *A)]},
        ("knife", "gun"),
        ("training",),
    )
    assert boxes.box_columns == {"made": (("X",),), "occluded": (("1",),)}


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        ('<polyline label="gun" points="1,2;3,4"/>', "no-number"),
        ('<box label="gun" xtl="1" ytl="" xbr="4" ybr="5"/>', "no-number"),
        ('<box label="" xtl="1" ytl="2" xbr="4" ybr="5"/>', "unknown-class"),
    ],
)
def test_cvat_objects_without_a_box_leave_their_image_out(inner, kind, tmp_path):
    source = cvat(tmp_path, CVAT["box"] + inner, CVAT["box"])
    assert refusals(source) == {kind}
    assert list(got(read_boxes(source, faults="clip"))) == ["images/1.jpg"]


def test_cvat_of_a_video_is_named_with_the_export_to_choose(tmp_path):
    source = cvat(tmp_path, "", more='<track id="0" label="gun"><box frame="0" xtl="1"/></track>')
    with pytest.raises(DataFault, match="XML of a video") as refused:
        read_boxes(source)
    assert "CVAT for images 1.1" in refused.value.remedy


LABELME = {
    "rectangle": ("rectangle", [[40, 60], [10, 20]]),
    "rectangle of four": ("rectangle", [[10, 20], [40, 20], [40, 60], [10, 60]]),
    "polygon": ("polygon", [[10, 20], [40, 20], [40, 60]]),
    "rotated": ("rotation", [[10, 40], [25, 20], [40, 40], [25, 60]]),
}


def labelme(root, *shapes, size=SIZE):
    for i, some in enumerate(shapes):
        draw_image(root / f"{i}.jpg")
        listed = [{"label": "gun", "shape_type": kind, "points": points} for kind, points in some]
        whole = {
            "shapes": listed,
            "imagePath": f"..\\x\\{i}.jpg",
            "imageWidth": size[0],
            "imageHeight": size[1],
        }
        (root / f"{i}.json").write_text(json.dumps(whole))
    return root


@pytest.mark.parametrize("name", LABELME)
def test_labelme(name, tmp_path):
    source = labelme(tmp_path, [LABELME[name]], [])
    assert got(read_boxes(source)) == {"0.jpg": [("gun", *A)], "1.jpg": []}
    assert refusals(source) == set()
    assert got(read_boxes(source / "0.json")) == {"0.jpg": [("gun", *A)]}


def test_labelme_circles_and_stated_sizes(tmp_path):
    source = labelme(tmp_path, [("circle", [[60, 60], [60, 84]])], size=(240, 160))
    assert got(read_boxes(source)) == {"0.jpg": [("gun", 18, 18, 42, 42)]}


@pytest.mark.parametrize(
    "shape", [("line", [[1, 2], [30, 40]]), ("point", [[1, 2]]), ("rectangle", [[1, None], [3, 4]])]
)
def test_labelme_shapes_without_a_box_leave_their_image_out(shape, tmp_path):
    source = labelme(tmp_path, [LABELME["rectangle"], shape], [LABELME["rectangle"]])
    assert refusals(source) == {"no-number"}
    assert list(got(read_boxes(source, faults="clip"))) == ["1.jpg"]


RECT = {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}
ROUND = {"name": "ellipse", "cx": 25, "cy": 40, "rx": 15, "ry": 20}
RING_VIA = {"name": "polygon", "all_points_x": [10, 40, 40], "all_points_y": [20, 20, 60]}


@pytest.mark.parametrize("form", ["json", "regions by number", "project", "csv"])
def test_via(form, tmp_path):
    draw_images(tmp_path, ["0.jpg", "1.jpg", "2.jpg", "3.jpg"])
    shapes = [RECT, ROUND, RING_VIA]
    entries = {
        f"{i}.jpg99": {"filename": f"{i}.jpg", "size": 99,
                       "regions": [{"shape_attributes": shape, "region_attributes": {"class": "gun"}}]}
        for i, shape in enumerate(shapes)
    }  # fmt: skip
    entries["3.jpg99"] = {"filename": "3.jpg", "size": 99, "regions": []}
    if form == "regions by number":
        entries = {
            key: {**entry, "regions": dict(enumerate(entry["regions"]))} for key, entry in entries.items()
        }
    if form == "csv":
        rows = [
            "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
        ]
        quoted = [json.dumps(shape).replace('"', '""') for shape in shapes]
        rows += [f'{i}.jpg,99,"{{}}",1,0,"{shape}","{{""class"":""gun""}}"' for i, shape in enumerate(quoted)]
        (tmp_path / "via.csv").write_text("\n".join([*rows, '3.jpg,99,"{}",0,0,"{}","{}"']))
    else:
        whole = {"_via_settings": {}, "_via_img_metadata": entries} if form == "project" else entries
        (tmp_path / "via.json").write_text(json.dumps(whole))
    assert got(read_boxes(tmp_path)) == {**THREE, "3.jpg": []}
    assert refusals(tmp_path) == set()


# --- what is not read is named ---

STRANGERS = {
    "coco without annotations": (
        "image_info_test.json",
        '{"images": [{"id": 1}], "categories": []}',
        "without annotations",
    ),
    "Label Studio": (
        "export.json",
        '[{"id": 1, "annotations": [{"result": []}], "data": {"image": "x"}}]',
        None,
    ),
    "Label Studio, data first": (
        "x.json",
        '[{"data": {"image": "x"}, "annotations": [{"result": []}]}]',
        "Label Studio",
    ),
    "CreateML": (
        "x.json",
        '[{"image": "0.jpg", "annotations": [{"label": "gun", "coordinates": {"x": 1}}]}]',
        "CreateML",
    ),
    "VoTT": ("x.json", '{"name": "p", "assets": {}}', "VoTT"),
    "KITTI": ("0.txt", "Car 0.00 0 -1.58 587.0 173.3 614.1 200.1 1.6 1.6 3.6 -0.6 1.7 46.7 -1.5\n", "KITTI"),
    "DOTA": ("0.txt", "1 2 3 4 5 6 7 8 plane 0\n", "DOTA"),
    "no names of columns": ("x.csv", "0.jpg,10,20,40,60,gun\n", "without names of its columns"),
    "TFRecord": ("train.tfrecord-00000-of-00001", "x", "TFRecord"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_format_that_is_not_read_is_named(name, tmp_path):
    file, text, said = STRANGERS[name]
    draw_images(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(DataFault, match="no boxes") as refused:
        read_boxes(tmp_path)
    assert (said or "no boxes") in refused.value.problem
    if said:
        assert refusals(tmp_path) == {"annotations"}


# --- small objects ---


def small(root, side=16, size=(3000, 2000)):
    draw_images(root, size=size)
    rows = [f"{i}.jpg,{100 * k},50,{100 * k + side},{50 + side},dot" for i in range(3) for k in range(1, 6)]
    (root / "boxes.csv").write_text("\n".join(["image,left,top,right,bottom,class", *rows]))
    return root


def test_boxes_below_two_pixels_are_told_with_the_size_to_take(tmp_path):
    source = small(tmp_path / "a")
    said = tiny_boxes(read_boxes(source), 320)
    assert said == (
        "15 of 15 boxes are below 2 pixels at --image-size 320 and are ignored: take --image-size 384, or a larger one "
        "with --crop."
    )  # 16 x 384 / 3000 = 2.05
    assert tiny_boxes(read_boxes(source), 384) == ""
    (found,) = (one for one in check_source(str(source)).findings if one.kind == "tiny-boxes")
    assert (found.sentence, found.paths) == (said, ("0.jpg", "1.jpg", "2.jpg"))
    assert tiny_boxes(read_boxes(small(tmp_path / "b", side=3)), 320).endswith(
        "with --crop, which learns squares cut out of so large images."
    )


# --- the arithmetic ---


def test_the_box_around_a_turned_box():
    assert around_turned(10, 20, 4, 2, 0) == (8, 19, 12, 21)
    assert around_turned(10, 20, 4, 2, math.pi / 2) == pytest.approx((9, 18, 11, 22))
    assert around_turned(0, 0, 2, 2, math.pi / 4) == pytest.approx([-math.sqrt(2)] * 2 + [math.sqrt(2)] * 2)


def test_the_box_around_a_mask_is_that_of_its_pixels():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random((7, 5)) < 0.15
        mask[rng.integers(7), rng.integers(5)] = True
        flat = mask.T.ravel()
        changes = np.flatnonzero(np.diff(flat.astype(int), prepend=0)).tolist()
        runs = np.diff([0, *changes, flat.size]).tolist()
        down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        wanted = (across[0], down[0], across[-1] + 1, down[-1] + 1)
        assert around_coco({"counts": runs, "size": [7, 5]}) == wanted
        assert around_coco({"counts": packed(runs), "size": [7, 5]}) == wanted
