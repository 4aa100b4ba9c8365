"""Every format is read as its makers wrote it, and written so that it reads the same to the last bit."""

from __future__ import annotations

import json
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.formats.writers import coco_box, difference, write_boxes, yolo_box
from tlkit.data.boxes.formats.yolo import _corners, label_place, yaml_names
from tlkit.errors import DataFault, RunFailed, UsageFault

FORMS = ("coco", "voc", "yolo", "csv")


def image(path, size=(100, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def text(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(contents)


def rows(boxes):
    """Path -> (class, box) of each, in order."""
    return {
        path: [(boxes.class_names[k], box) for k, box in zip(labels.tolist(), xyxy.tolist(), strict=True)]
        for path, labels, xyxy in zip(boxes.paths, boxes.labels, boxes.xyxy, strict=True)
    }


def voc(filename, *objects, size=(100, 80), database="Unknown"):
    inner = "".join(
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox><ymin>{b[1]}</ymin>"
        f"<xmin>{b[0]}</xmin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b, difficult in objects
    )
    return (
        f"<annotation><filename>{filename}</filename><source><database>{database}</database></source>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{inner}</annotation>"
    )


# --- reading ---


def test_voc_finds_images_by_the_name_of_the_annotation_first(tmp_path):
    for name in ("1", "2"):
        image(tmp_path / "JPEGImages" / f"{name}.png")
    text(tmp_path / "Annotations" / "1.xml", voc("P77.png", ("gun", (1, 2, 30.5, 40), False)))
    text(tmp_path / "Annotations" / "odd.xml", voc("/home/me/2.png", ("gun", (1, 2, 3, 4), True)))
    text(tmp_path / "ImageSets" / "Main" / "train.txt", "1\n")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "2\n")
    boxes = read_boxes(tmp_path)
    assert rows(boxes) == {"1.png": [("gun", [1, 2, 30.5, 40])], "2.png": [("gun", [1, 2, 3, 4])]}
    assert boxes.root == tmp_path / "JPEGImages"
    assert [flags.tolist() for flags in boxes.difficult] == [[False], [True]]
    assert boxes.parts == ("training", "validation")


def test_voc_beside_the_images_and_without_objects(tmp_path):
    image(tmp_path / "a" / "1.png")
    image(tmp_path / "a" / "2.png")
    text(tmp_path / "a" / "1.xml", voc("1.png"))
    text(tmp_path / "a" / "2.xml", voc("2.png", ("gun", (1, 2, 3, 4), False)))
    assert rows(read_boxes(tmp_path)) == {"a/1.png": [], "a/2.png": [("gun", [1, 2, 3, 4])]}


def test_only_the_voc_sets_count_pixels_from_one(tmp_path):
    image(tmp_path / "1.png")
    text(tmp_path / "1.xml", voc("1.png", ("dog", (1, 1, 100, 80), False), database="The VOC2007 Database"))
    assert rows(read_boxes(tmp_path))["1.png"] == [("dog", [0, 0, 100, 80])]


def coco(root, *, crowd=0, area=None, name="annotations.json", folder="images"):
    image(root / folder / "1.png")
    image(root / folder / "2.png")
    annotation = {"id": 5, "image_id": 9, "category_id": 7, "bbox": [10.5, 20, 30.25, 40], "iscrowd": crowd}
    whole = {
        "images": [
            {"id": 9, "file_name": "1.png", "width": 100, "height": 80},
            {"id": 4, "file_name": "2.png"},
        ],
        "annotations": [{**annotation, **({"area": area} if area else {})}],
        "categories": [{"id": 9, "name": "gun"}, {"id": 7, "name": "knife"}],
    }
    text(root / name, json.dumps(whole))
    return root


def test_coco_with_negative_images_crowd_and_outline_area(tmp_path):
    boxes = read_boxes(coco(tmp_path, crowd=1, area=300.5))
    assert boxes.class_names == ("knife", "gun")  # in the order of their numbers
    assert rows(boxes) == {"1.png": [("knife", [10.5, 20, 40.75, 60])], "2.png": []}
    assert (boxes.difficult[0].tolist(), boxes.crowd[0].tolist()) == ([False], [True])
    assert boxes.box_columns == {"area": (("300.5",), ())}


def test_coco_without_area_or_with_that_of_the_box_has_no_column(tmp_path):
    assert read_boxes(coco(tmp_path / "a")).box_columns == {}
    assert read_boxes(coco(tmp_path / "b", area=30.25 * 40)).box_columns == {}


def test_coco_as_published_and_one_of_its_files(tmp_path):
    coco(tmp_path, name="annotations/instances_train2017.json", folder="train2017")
    coco(tmp_path, name="annotations/instances_val2017.json", folder="val2017")
    boxes = read_boxes(tmp_path)
    assert boxes.paths == ("train2017/1.png", "train2017/2.png", "val2017/1.png", "val2017/2.png")
    assert boxes.parts == ("training", "training", "validation", "validation")
    one = read_boxes(tmp_path / "annotations" / "instances_val2017.json")
    assert (one.root.name, one.paths, one.parts) == ("val2017", ("1.png", "2.png"), (None, None))


@pytest.mark.parametrize(
    "names",
    [
        "names: [gun, 'big knife']",
        "# names of ours\npath: x\nnames:\n  0: gun # first\n  1: big knife\nnc: 2",
        'names:\n- gun\n- "big knife"\ntrain: images/train',
        "names: {0: gun, 1: 'big knife'}",
        "nc: 2\nnames: [\n  'gun',\n  'big knife',\n]\n",
    ],
)
def test_yolo_names_in_all_their_spellings(names, tmp_path):
    text(tmp_path / "data.yaml", names)
    assert yaml_names(tmp_path / "data.yaml") == ("gun", "big knife")


def test_yolo_in_labels_and_images(tmp_path):
    for part in ("train", "val"):
        image(tmp_path / "images" / part / "1.png")
    text(tmp_path / "labels" / "train" / "1.txt", "1 0.5 0.5 0.2 0.5\n\n0 0.1 0.1 0.1 0.2\n")
    text(tmp_path / "labels" / "val" / "1.txt", "")
    text(tmp_path / "data.yaml", "names: [gun, knife]\n")
    boxes = read_boxes(tmp_path)
    assert boxes.class_names == ("gun", "knife")
    assert boxes.parts == ("training", "validation")
    assert rows(boxes) == {
        "train/1.png": [("knife", [40, 20, 60, 60]), ("gun", [5, 0, 15, 16])],
        "val/1.png": [],
    }


def test_yolo_as_roboflow_and_darknet_lay_it_out(tmp_path):
    image(tmp_path / "r" / "train" / "images" / "1.png")
    text(tmp_path / "r" / "train" / "labels" / "1.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "r" / "data.yaml", "names: ['gun']")
    text(tmp_path / "r" / "README.roboflow.txt", "hello")
    assert rows(read_boxes(tmp_path / "r")) == {"train/images/1.png": [("gun", [0, 0, 100, 80])]}
    image(tmp_path / "d" / "1.png")
    text(tmp_path / "d" / "1.txt", "0 0.5 0.5 1 1")
    text(tmp_path / "d" / "classes.txt", "gun\nknife\n")
    assert rows(read_boxes(tmp_path / "d")) == {"1.png": [("gun", [0, 0, 100, 80])]}
    assert read_boxes(tmp_path / "r" / "data.yaml").paths == ("train/images/1.png",)


def test_yolo_outlines_become_their_boxes(tmp_path):
    image(tmp_path / "images" / "1.png")
    text(tmp_path / "labels" / "1.txt", "0 0.1 0.5 0.3 0.25 0.5 0.75")
    text(tmp_path / "classes.txt", "gun\n")
    assert rows(read_boxes(tmp_path))["1.png"] == [("gun", [10, 20, 50, 60])]


def test_six_decimals_at_the_edge_are_no_fault(tmp_path):
    image(tmp_path / "images" / "1.png", (641, 480))
    text(tmp_path / "labels" / "1.txt", "0 0.123457 0.5 0.246915 1.000001")
    text(tmp_path / "classes.txt", "gun\n")
    (box,) = read_boxes(tmp_path).xyxy[0]
    assert box[[0, 1, 3]].tolist() == [0, 0, 480]


def test_gdxray_rows_are_frame_and_pairs_of_x_and_y(tmp_path):
    for frame in (1, 2, 12):
        image(tmp_path / "C0001" / f"C0001_{frame:04d}.png")
    text(tmp_path / "C0001" / "ground_truth.txt", "  1  1.0e+01 20.5 30 40\n12 1 2 3 4\n1 5 6 7 8\n")
    boxes = read_boxes(tmp_path, unlabelled="negative")
    assert rows(boxes) == {
        "C0001/C0001_0001.png": [("defect", [10, 30, 20.5, 40]), ("defect", [5, 7, 6, 8])],
        "C0001/C0001_0002.png": [],
        "C0001/C0001_0012.png": [("defect", [1, 3, 2, 4])],
    }
    assert boxes.columns == {"series": ("C0001", "", "C0001")}
    assert read_boxes(tmp_path / "C0001", unlabelled="skip").paths == ("C0001_0001.png", "C0001_0012.png")


def test_open_images_by_name_with_group_boxes(tmp_path):
    image(tmp_path / "pictures" / "ab12.png")
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
    text(tmp_path / "boxes-validation.csv", f"{header}\nab12,x,/m/01,1,0.1,0.5,0.25,0.5,0,0,1\n")
    text(tmp_path / "class-descriptions-boxable.csv", "/m/01,Gun\n")
    boxes = read_boxes(tmp_path)
    assert rows(boxes) == {"pictures/ab12.png": [("Gun", [10, 20, 50, 40])]}
    assert (boxes.difficult[0].tolist(), boxes.crowd[0].tolist()) == ([False], [True])


def test_two_open_images_tables_are_a_question(tmp_path):
    image(tmp_path / "a.png")
    for name in ("boxes.csv-old.csv", "val.csv"):
        text(tmp_path / name, "ImageID,LabelName,XMin,XMax,YMin,YMax\na,gun,0,1,0,1\n")
    with pytest.raises(
        DataFault, match=r"2 tables of boxes, not all of them named after a part: .*, val.csv"
    ):
        read_boxes(tmp_path)
    assert len(read_boxes(tmp_path / "val.csv")) == 1
    (tmp_path / "boxes.csv-old.csv").rename(tmp_path / "train.csv")
    with pytest.raises(DataFault, match=r"1 image both in training and in validation, such as a.png"):
        read_boxes(tmp_path)


def test_hidden_files_say_nothing(tmp_path):
    coco(tmp_path)
    text(tmp_path / ".idea" / "misc.xml", "<project/>")
    text(tmp_path / ".cache.json", '{"images": [], "categories": [], "annotations": []}')
    assert len(read_boxes(tmp_path)) == 2


def test_two_formats_in_one_folder_are_a_question(tmp_path):
    coco(tmp_path)
    text(tmp_path / "images" / "1.xml", voc("1.png"))
    with pytest.raises(DataFault, match="2 formats: COCO, VOC"):
        read_boxes(tmp_path)
    assert len(read_boxes(tmp_path / "annotations.json")) == 2


def test_a_folder_without_boxes_names_what_is_known(tmp_path):
    image(tmp_path / "1.png")
    with pytest.raises(DataFault, match=r"has no boxes.\n.*boxes.csv"):
        read_boxes(tmp_path)


# --- tfds ---


def test_a_prepared_set_with_boxes(tmp_path, monkeypatch):
    """Against a builder of the same form as tensorflow-datasets' own."""

    names = ["gun", "knife"]
    labels = SimpleNamespace(int2str=names.__getitem__, names=names)
    columns = SimpleNamespace(
        feature={"bbox": None, "label": labels, "is_difficult": None, "is_group_of": None}
    )

    image(tmp_path / "x.png")
    contents = (tmp_path / "x.png").read_bytes()
    objects = {
        "bbox": np.array([[0.25, 0.1, 0.5, 0.5]], np.float32),
        "label": np.array([1]),
        "is_difficult": np.array([True]),
        "is_group_of": np.array([False]),
    }
    empty = {
        "bbox": np.zeros((0, 4), np.float32),
        "label": np.zeros(0, int),
        "is_difficult": np.zeros(0, bool),
        "is_group_of": np.zeros(0, bool),
    }

    def as_dataset(split, decoders, shuffle_files):
        examples = [{"image": contents, "objects": objects if split == "train" else empty}]
        return SimpleNamespace(as_numpy_iterator=lambda: iter(examples))

    info = SimpleNamespace(features={"image": None, "objects": columns}, splits=["train", "test"])
    builder = SimpleNamespace(info=info, as_dataset=as_dataset)
    fake = SimpleNamespace(
        decode=SimpleNamespace(SkipDecoding=lambda: None), builder_from_directory=lambda _folder: builder
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    prepared = tmp_path / "data" / "ours" / "1" / "1.0.0" / "dataset_info.json"
    prepared.parent.mkdir(parents=True)
    prepared.touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    boxes = read_boxes("tfds:ours/1")
    assert rows(boxes) == {"test/000000.png": [], "train/000000.png": [("knife", [10, 20, 50, 40])]}
    assert boxes.class_names == ("gun", "knife")
    assert boxes.parts == ("test", "training")
    assert (boxes.difficult[1].tolist(), boxes.crowd[1].tolist()) == ([True], [False])


# --- writing ---


def varied(root, seed=0, images=12):
    """Float boxes on odd sizes: on the edges, tiny, with groups, parts, difficult ones, crowds, facts and odd names."""
    generator = np.random.default_rng(seed)
    names = ["Gun & <knife>", "10: 'sharp', \"blade\"", "naïve # class", "gun_2"]
    lines = ["image,left,top,right,bottom,class,difficult,crowd,occlusion,note"]
    groups = ["image,group,split,scanner"]
    for number in range(images):
        width, height = (int(v) for v in generator.integers(30, 400, 2))
        path = f"{'train' if number % 3 else 'test'}/a b{number}.png"
        image(root / path, (width, height))
        groups.append(f"{path},g{number // 2},{'train' if number % 3 else 'test'},s{number % 2}")
        for kind in range(number % 4):
            x, y = np.sort(generator.random((2, 2)), axis=1) * [[width], [height]]
            x, y = x.astype(np.float32), y.astype(np.float32)
            if kind == 0:
                x[0], y[1] = 0, height
            if kind == 1:
                x[0], x[1] = np.float32(1e-5), width
            name = names[int(generator.integers(4))].replace('"', '""')
            lines.append(
                f'{path},{x[0]!s},{y[0]!s},{x[1]!s},{y[1]!s},"{name}",{kind % 2},{kind // 2},0.{number},"x < y"'
            )
        if not number % 4:
            lines.append(f"{path},,,,,,,,,")
    text(root / "boxes.csv", "\n".join(lines))
    text(root / "groups.csv", "\n".join(groups))
    text(root / "classes.txt", "\n".join([*reversed(names), "never seen"]) + "\n")
    return read_boxes(root)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_reads_the_same(form, tmp_path):
    first = varied(tmp_path / "source")
    folder = write_boxes(first, tmp_path / "out", form)
    again = read_boxes(folder)
    assert difference(first, again) is None
    assert again.class_names[-1] == "never seen"
    assert (again.file(3)).read_bytes() == first.file(3).read_bytes()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_round_trip_through_all_forms(tmp_path):
    first = boxes = varied(tmp_path / "source", seed=1, images=6)
    for number, form in enumerate(("voc", "coco", "yolo", "csv", "voc")):
        boxes = read_boxes(write_boxes(boxes, tmp_path / f"{number}", form, link=True))
    assert difference(first, boxes) is None
    assert boxes.file(0).samefile(first.file(0))


def test_yolo_and_coco_numbers_give_the_float32_again():
    generator = np.random.default_rng(2)
    for width, height in generator.integers(1, 20_001, (300, 2)).tolist():
        share = np.sort(generator.random((2, 2)) ** generator.choice([1, 4, 9]), axis=0)
        box = (share * [width, height]).astype(np.float32).ravel()
        box[box < 1e-9] = 0
        corners = np.array(_corners(yolo_box(box, (width, height)))) * [width, height, width, height]
        np.testing.assert_array_equal(np.where(np.abs(corners) < 1e-9, 0, corners).astype(np.float32), box)
        left, top, wide, high = coco_box(box)
        np.testing.assert_array_equal(np.array([left, top, left + wide, top + high]).astype(np.float32), box)


def test_yolo_label_place_is_where_others_look():
    assert label_place("images/train/1.png") == "labels/train/1.txt"
    assert label_place("train/images/1.png") == "train/labels/1.txt"
    assert label_place("images/images/1.png") == "images/labels/1.txt"
    assert label_place("sub/images.png") == "sub/images.txt"


def test_coco_is_what_pycocotools_reads(tmp_path, capsys):
    from pycocotools.coco import COCO

    folder = write_boxes(varied(tmp_path / "s"), tmp_path / "out", "coco")
    known = COCO(str(folder / "annotations.json"))
    boxes = read_boxes(folder)
    capsys.readouterr()
    assert len(known.getImgIds()) == 12
    assert len(known.getAnnIds()) == sum(map(len, boxes.xyxy))
    assert min(known.getAnnIds()) == 1  # pycocotools takes 0 for no match


def test_images_that_would_share_an_annotation(tmp_path):
    for name in ("1.png", "1.bmp"):
        image(tmp_path / "s" / name)
    text(
        tmp_path / "s" / "boxes.csv", "image,left,top,right,bottom,class\n1.png,1,1,2,2,a\n1.bmp,1,1,2,2,a\n"
    )
    boxes = read_boxes(tmp_path / "s")
    for form in ("voc", "yolo"):
        with pytest.raises(DataFault, match=r"1.bmp and 1.png would have one annotation file"):
            write_boxes(boxes, tmp_path / form, form)
    assert len(read_boxes(write_boxes(boxes, tmp_path / "coco", "coco"))) == 2


def test_a_folder_in_use_or_inside_the_source_is_refused(tmp_path):
    boxes = varied(tmp_path / "s", images=3)
    text(tmp_path / "full" / "x.txt", "mine")
    for folder, said in ((tmp_path / "full", "there already"), (tmp_path / "s" / "new", "lies inside")):
        with pytest.raises(UsageFault, match=said):
            write_boxes(boxes, folder, "csv")
    assert (tmp_path / "full" / "x.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert read_boxes(write_boxes(boxes, tmp_path / "empty", "csv")).paths == boxes.paths


def test_what_does_not_survive_is_not_left_there(tmp_path, monkeypatch):
    from tlkit.data.boxes.formats import writers as box_writers

    boxes = varied(tmp_path / "s", images=3)
    real = box_writers.WRITERS["csv"]

    def forgetful(boxes, folder):
        real(boxes, folder)
        table = (folder / "boxes.csv").read_text()
        assert "x < y,0.1" in table
        (folder / "boxes.csv").write_text(table.replace("x < y,0.1", "x < y,0.2"))

    monkeypatch.setitem(box_writers.WRITERS, "csv", forgetful)
    with pytest.raises(RunFailed, match="box_columns differ"):
        write_boxes(boxes, tmp_path / "out", "csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


@pytest.mark.real
@pytest.mark.parametrize("name", ["sixray", "bccd", "raccoon"])
def test_real_sets_go_through_every_form(name, real_data, tmp_path):
    first = boxes = read_boxes(real_data / name)
    if name != "raccoon":
        first = boxes = first.take(range(40))
    for number, form in enumerate(("voc", "coco", "yolo", "csv", "voc")):
        boxes = read_boxes(write_boxes(boxes, tmp_path / str(number), form, link=number > 0))
        assert difference(first, boxes) is None
