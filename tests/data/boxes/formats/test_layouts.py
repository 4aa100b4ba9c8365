"""Where labelling tools and data sets put images, annotations and parts: each layout is read at the first try.

Every layout is drawn here, as a tool's documentation or a public report describes it; boxes and parts are written by
hand. What a reader says, `tlkit check` must say too.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.formats.detect import formats_in
from tlkit.data.boxes.formats.writers import write_boxes
from tlkit.data.boxes.splits import split_boxes
from tlkit.data.checks.check import check_source
from tlkit.data.images.findings import ERROR
from tlkit.errors import DataFault

WIDE, HIGH = 60, 40
A, B = (10, 20, 30, 38), (15, 4, 45, 36)  # left, top, right, bottom


def draw(file):
    """An image of its own for every path."""
    generator = np.random.default_rng(zlib.crc32(str(file).encode()))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator.integers(0, 255, (HIGH, WIDE, 3), np.uint8)).save(file)


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def coco(file, names, box=A):
    """A COCO file with one gun on each image."""
    left, top, right, bottom = box
    entry = {"category_id": 1, "bbox": [left, top, right - left, bottom - top], "iscrowd": 0}
    images = [{"id": i, "file_name": name, "width": WIDE, "height": HIGH} for i, name in enumerate(names)]
    annotations = [{"id": i + 1, "image_id": i, **entry} for i in range(len(names))]
    whole = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "gun"}]}
    write(file, json.dumps(whole))


def voc(file, name, box=A, more=""):
    """A VOC file with one gun."""
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    size = f"<size><width>{WIDE}</width><height>{HIGH}</height><depth>3</depth></size>"
    thing = f"<object><name>gun</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>"
    write(file, f"<annotation><filename>{name}</filename>{more}{size}{thing}</annotation>")


def yolo(file, box=A):
    """A label file with one gun."""
    left, top, right, bottom = box
    numbers = (
        (left + right) / 2 / WIDE,
        (top + bottom) / 2 / HIGH,
        (right - left) / WIDE,
        (bottom - top) / HIGH,
    )
    write(file, " ".join(map(str, (0, *numbers))) + "\n")


def yolo_set(top, parts, layout="{kind}/{part}", suffix=".jpg"):
    """Images 0, 1, 2 ... with labels, one in each of `parts`; their paths below `top`."""
    paths = []
    for number, part in enumerate(parts):
        image = f"{layout.format(kind='images', part=part)}/{number}{suffix}"
        draw(top / image)
        yolo(top / layout.format(kind="labels", part=part) / f"{number}.txt")
        paths.append(image)
    return paths


def parted(training=(), validation=(), test=(), none=(), box=A):
    """What is expected: path -> (box, part)."""
    named = {"training": training, "validation": validation, "test": test, None: none}
    return {path: (box, part) for part, paths in named.items() for path in paths}


LAYOUTS = {}


def layout(make):
    """A layout: writes into a folder; gives what is expected and, where it is not the folder, the SOURCE in it."""
    LAYOUTS[make.__name__] = make
    return make


# --- COCO ---


@layout
def coco_images_subset(top):
    """annotations/instances_train.json and images/train/, as CVAT and Datumaro write them."""
    for part, number in (("train", 3), ("val", 2)):
        names = [f"{part}{i}.jpg" for i in range(number)]
        for name in names:
            draw(top / "images" / part / name)
        coco(top / f"annotations/instances_{part}.json", names)
    return parted(
        [f"images/train/train{i}.jpg" for i in range(3)], [f"images/val/val{i}.jpg" for i in range(2)]
    )


@layout
def coco_images_train2017(top):
    """The same with COCO's years, as Ultralytics lays COCO out."""
    for part in ("train2017", "val2017"):
        draw(top / "images" / part / "000000000009.jpg")
        coco(top / f"annotations/instances_{part}.json", ["000000000009.jpg"])
    return parted(["images/train2017/000000000009.jpg"], ["images/val2017/000000000009.jpg"])


@layout
def coco_as_unzipped(top):
    """COCO's own archives unpacked beside one another, with files of other tasks."""
    for part in ("train2017", "val2017"):
        draw(top / part / "1.jpg")
        coco(top / f"annotations_trainval2017/annotations/instances_{part}.json", ["1.jpg"])
        coco(top / f"annotations_trainval2017/annotations/person_keypoints_{part}.json", ["1.jpg"])
    return parted(["train2017/1.jpg"], ["val2017/1.jpg"])


@layout
def coco_datumaro_default(top):
    """Datumaro without subsets: instances_default.json and images/default/."""
    for name in ("1.png", "sub/2.png"):
        draw(top / "images/default" / name)
    coco(top / "annotations/instances_default.json", ["1.png", "sub/2.png"])
    return parted(none=["1.png", "sub/2.png"])


@layout
def coco_label_studio(top):
    """Label Studio: file_name climbs to the server's upload folder, with backslashes."""
    names = [f"cb0618f{i}-bag_{i}.jpg" for i in range(3)]
    for name in names:
        draw(top / "images" / name)
    coco(top / "result.json", [rf"..\..\label-studio\label-studio\media\upload\4\{name}" for name in names])
    return parted(none=[f"images/{name}" for name in names])


@layout
def coco_label_studio_project(top):
    """Label Studio's converter: a folder of the project that the archive has not, both slashes."""
    names = [f"90fbb0c{i}-a.jpg" for i in range(3)]
    for name in names:
        draw(top / "images" / name)
    coco(top / "result.json", [rf"images\1/{name}" for name in names])
    return parted(none=[f"images/{name}" for name in names])


@layout
def coco_absolute(top):
    """Absolute names of this very folder, and of another computer (FiftyOne's issues)."""
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        draw(top / "images" / name)
    here = str((top / "images/0.jpg").absolute())
    coco(top / "labels.json", [here, "/home/x/bags/images/1.jpg", r"D:\bags\images\2.jpg"])
    return parted(none=[f"images/{i}.jpg" for i in range(3)])


@layout
def coco_roboflow(top):
    """Roboflow: _annotations.coco.json in each of train/, valid/ and test/."""
    for part in ("train", "valid", "test"):
        draw(top / part / f"{part}_jpg.rf.0c48.jpg")
        coco(top / part / "_annotations.coco.json", [f"{part}_jpg.rf.0c48.jpg"])
    return parted(*([f"{part}/{part}_jpg.rf.0c48.jpg"] for part in ("train", "valid", "test")))


@layout
def coco_fiftyone_splits(top):
    """FiftyOne: data/ beside labels.json, in a folder for each split."""
    for part in ("train", "val"):
        draw(top / part / "data/1.jpg")
        coco(top / part / "labels.json", ["1.jpg"])
    return parted(["train/data/1.jpg"], ["val/data/1.jpg"])


@layout
def coco_supervisely(top):
    """Supervisely: images/ and annotations/instances.json in a folder for each data set."""
    for part in ("train", "test"):
        draw(top / part / "images/1.jpg")
        coco(top / part / "annotations/instances.json", ["1.jpg"])
    return parted(["train/images/1.jpg"], test=["test/images/1.jpg"])


@layout
def coco_same_names(top):
    """train/ and val/ with equal names and equal numbers of images."""
    for part, names, box in (("train", ["0.jpg", "1.jpg"], A), ("val", ["0.jpg"], B)):
        for name in names:
            draw(top / part / name)
        coco(top / f"annotations/instances_{part}.json", names, box)
    return parted(["train/0.jpg", "train/1.jpg"]) | parted(validation=["val/0.jpg"], box=B)


@layout
def coco_without_suffix(top):
    """Names without suffix, and of the format before images were saved anew."""
    for name in ("1.jpg", "2.5.jpg", "3.png"):
        draw(top / "images" / name)
    coco(top / "annotations.json", ["1", "2.5", "3.tif"])
    return parted(none=["images/1.jpg", "images/2.5.jpg", "images/3.png"])


@layout
def coco_capitals(top):
    """Folders and suffixes in another case than the file says."""
    for part in ("Train", "Val"):
        draw(top / "Images" / part / f"{part}.JPG")
        coco(top / f"Annotations/instances_{part.lower()}.json", [f"{part.lower()}.jpg"])
    return parted(["Images/Train/Train.JPG"], ["Images/Val/Val.JPG"])


# --- VOC ---


@layout
def voc_trainval_test(top):
    """ImageSets/Main has trainval.txt and test.txt only, as VOC2007's archives and many that imitate it."""
    for i in range(5):
        draw(top / f"JPEGImages/{i:06d}.jpg")
        voc(top / f"Annotations/{i:06d}.xml", f"{i:06d}.jpg")
    write(top / "ImageSets/Main/trainval.txt", "000000\n000001\n000002\n")
    write(top / "ImageSets/Main/test.txt", "000003\n000004\n")
    return parted([f"{i:06d}.jpg" for i in range(3)], test=["000003.jpg", "000004.jpg"])


@layout
def voc_four_lists(top):
    """All four lists: trainval is train and val; lists of a class (name and flag) are no parts."""
    for name in ("a", "b", "c", "d"):
        draw(top / f"JPEGImages/{name}.jpg")
        voc(top / f"Annotations/{name}.xml", f"{name}.jpg")
    lists = {"train": "a 1\n", "val": "b\n", "trainval": "a\nb\nc\n", "test": "d\n", "gun_train": "d 1\n"}
    for name, text in lists.items():
        write(top / f"ImageSets/Main/{name}.txt", text)
    return parted(["a.jpg", "c.jpg"], ["b.jpg"], ["d.jpg"])


@layout
def voc_cvat(top):
    """CVAT: names with blanks, quoted or not, and a labelmap."""
    for i in range(4):
        draw(top / f"JPEGImages/my pic {i}.jpg")
        voc(top / f"Annotations/my pic {i}.xml", f"my pic {i}.jpg")
    write(top / "ImageSets/Main/train.txt", 'my pic 0\n"my pic 1"\nmy pic 2 1\n')
    write(top / "ImageSets/Main/val.txt", "my pic 3\n")
    write(top / "labelmap.txt", "# label:color_rgb:parts:actions\ngun:250,50,83::\n")
    return parted([f"my pic {i}.jpg" for i in range(3)], ["my pic 3.jpg"])


@layout
def voc_devkit(top):
    """VOCdevkit with two years; masks of segmentation are no images."""
    for year, name, part in (("VOC2007", "000005", "train"), ("VOC2012", "2008_000002", "val")):
        draw(top / year / f"JPEGImages/{name}.jpg")
        draw(top / year / f"SegmentationClass/{name}.png")
        voc(top / year / f"Annotations/{name}.xml", f"{name}.jpg")
        write(top / year / f"ImageSets/Main/{part}.txt", f"{name}\n")
    return parted(["VOC2007/JPEGImages/000005.jpg"], ["VOC2012/JPEGImages/2008_000002.jpg"])


@layout
def voc_parallel_parts(top):
    """train/annots and train/images, valid/annots and valid/images, with equal names."""
    for part, box in (("train", A), ("valid", B)):
        draw(top / part / "images/1.jpg")
        voc(top / part / "annots/1.xml", "1.jpg", box)
    return parted(["train/images/1.jpg"]) | parted(validation=["valid/images/1.jpg"], box=B)


@layout
def voc_labels_by_part(top):
    """labels/train and images/train, with equal names."""
    for part, box in (("train", A), ("test", B)):
        draw(top / "images" / part / "1.jpg")
        voc(top / "labels" / part / "1.xml", "1.jpg", box)
    return parted(["train/1.jpg"]) | parted(test=["test/1.jpg"], box=B)


@layout
def voc_stem_elsewhere(top):
    """Annotation/0001.xml for train/0001.jpg, and <filename> is that of another time."""
    for part, name in (("train", "0000"), ("train", "0001"), ("val", "1000")):
        draw(top / part / f"{name}.jpg")
        voc(top / f"Annotation/{name}.xml", f"P0{name[0]}{name}.jpg")
    return parted(["train/0000.jpg", "train/0001.jpg"], ["val/1000.jpg"])


@layout
def voc_path_elsewhere(top):
    """<filename> without suffix, <path> of another computer, a suffix in capitals."""
    draw(top / "JPEGImages/1.JPG")
    voc(top / "Annotations/1.xml", "1", more=r"<path>C:\Users\x\Documents\1.jpg</path>")
    return parted(none=["1.JPG"])


@layout
def voc_told_by_path(top):
    """Equal names in two folders, annotations in a third: the end of <path> tells which."""
    for number, (folder, box) in enumerate((("left", A), ("right", B))):
        draw(top / folder / "1.jpg")
        voc(top / "xml" / f"{number}.xml", "1.jpg", box, more=f"<path>/home/x/{folder}/1.jpg</path>")
    return parted(none=["left/1.jpg"]) | parted(none=["right/1.jpg"], box=B)


@layout
def voc_fiftyone(top):
    """FiftyOne's VOC: data/ and labels/; lists of stems beside them."""
    for name in ("a", "b"):
        draw(top / f"data/{name}.jpg")
        voc(top / f"labels/{name}.xml", f"{name}.jpg")
    write(top / "train.txt", "a\n")
    write(top / "val.txt", "b.jpg\n")
    return parted(["a.jpg"], ["b.jpg"])


@layout
def voc_many_suffixes(top):
    """BMP, TIFF, WebP and JPEG in images/, XML in labels/."""
    for number, suffix in enumerate(("bmp", "tif", "webp", "jpeg")):
        draw(top / f"images/{number}.{suffix}")
        voc(top / f"labels/{number}.xml", f"{number}.{suffix}")
    return parted(none=["0.bmp", "1.tif", "2.webp", "3.jpeg"])


# --- YOLO ---

NAMES = "names: [gun, knife]\n"


@layout
def yolo_train_lists(top):
    """data.yaml: train: train.txt, val: val.txt; images in one folder."""
    yolo_set(top, ["all"] * 5)
    write(top / "data.yaml", f"train: train.txt\nval: val.txt\n{NAMES}")
    write(top / "train.txt", "".join(f"./images/all/{i}.jpg\n" for i in range(3)))
    write(top / "val.txt", "images/all/3.jpg\n/home/x/bags/images/all/4.jpg\n")
    return parted([f"all/{i}.jpg" for i in range(3)], ["all/3.jpg", "all/4.jpg"])


@layout
def yolo_named_folders(top):
    """data.yaml: folders with names that say nothing."""
    yolo_set(top, ["2023", "2023", "2024"])
    write(
        top / "data.yaml",
        f"path: .\ntrain: images/2023  # 2 images\nval: images/2024\ntest:  # optional\n{NAMES}",
    )
    return parted(["2023/0.jpg", "2023/1.jpg"], ["2024/2.jpg"])


@layout
def yolo_lists_of_folders(top):
    """Ultralytics' VOC.yaml: lists of folders, val2012 learned from, test as val."""
    yolo_set(top, ["train2012", "val2012", "test2007"])
    entries = "train: # train images\n  - images/train2012\n  - images/val2012\nval:\n  - images/test2007\n"
    write(
        top / "VOC.yaml",
        f"path: ../datasets/VOC\n{entries}test: [images/test2007]\nnames:\n  0: gun\n  1: knife\n",
    )
    return parted(["train2012/0.jpg", "val2012/1.jpg"], ["test2007/2.jpg"])


@layout
def yolo_coco128(top):
    """Ultralytics' COCO128: validation is training."""
    yolo_set(top, ["train2017"] * 2)
    write(
        top / "coco128.yaml", f"path: coco128\ntrain: images/train2017\nval: images/train2017\ntest:\n{NAMES}"
    )
    return parted(["train2017/0.jpg", "train2017/1.jpg"])


@layout
def yolo_yaml_above(top):
    """data.yaml at the top, path: datasets/bags; SOURCE is the file."""
    yolo_set(top / "datasets/bags", ["train", "train", "val"])
    write(top / "data.yaml", f"path: datasets/bags\ntrain: images/train\nval: images/val\n{NAMES}")
    return parted(["train/0.jpg", "train/1.jpg"], ["val/2.jpg"]), "data.yaml"


@layout
def yolo_yaml_beside(top):
    """configs/config.yaml, and data/images, data/labels."""
    yolo_set(top / "data", ["train", "train", "val"])
    write(top / "configs/config.yaml", f"path: ./\ntrain: images/train\nval: images/val\n{NAMES}")
    return parted(["train/0.jpg", "train/1.jpg"], ["val/2.jpg"])


@layout
def yolo_capital_folders(top):
    """Images/ and Labels/."""
    yolo_set(top, ["train", "val"])
    (top / "images").rename(top / "Images")
    (top / "labels").rename(top / "Labels")
    write(top / "data.yaml", f"train: images/train\nval: images/val\n{NAMES}")
    return parted(["train/0.jpg"], ["val/1.jpg"])


@layout
def yolo_roboflow(top):
    """Roboflow: train/images, and ../train/images in data.yaml; the test folder is not in the archive."""
    yolo_set(top, ["train", "valid"], "{part}/{kind}")
    entries = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    write(top / "data.yaml", f"{entries}\nnc: 2\nnames: ['gun', 'knife']\n\nroboflow:\n  version: 13\n")
    write(top / "README.roboflow.txt", "Exported.\n")
    return parted(["train/images/0.jpg"], ["valid/images/1.jpg"])


@layout
def yolo_roboflow_darknet(top):
    """Roboflow's Darknet: labels beside images, _darknet.labels in each part."""
    for part in ("train", "valid"):
        draw(top / part / "1_jpg.rf.2.jpg")
        yolo(top / part / "1_jpg.rf.2.txt")
        write(top / part / "_darknet.labels", "gun\nknife\n")
    return parted(["train/1_jpg.rf.2.jpg"], ["valid/1_jpg.rf.2.jpg"])


@layout
def yolo_cvat(top):
    """CVAT's YOLO 1.1: obj.data, lists with a folder data/ that is not there."""
    for part in ("train", "valid"):
        draw(top / f"obj_{part}_data/frame_1.PNG")
        yolo(top / f"obj_{part}_data/frame_1.txt")
        write(top / f"{part}.txt", f"data/obj_{part}_data/frame_1.PNG\n")
    write(top / "obj.names", "gun\nknife\n")
    write(
        top / "obj.data",
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n",
    )
    return parted(["obj_train_data/frame_1.PNG"], ["obj_valid_data/frame_1.PNG"])


@layout
def yolo_cvat_one_subset(top):
    """CVAT's YOLO 1.1 as it comes without subsets: all is training."""
    draw(top / "obj_train_data/frame_1.PNG")
    yolo(top / "obj_train_data/frame_1.txt")
    write(top / "obj.names", "gun\n")
    write(top / "train.txt", "data/obj_train_data/frame_1.PNG\n")
    return parted(["obj_train_data/frame_1.PNG"])


@layout
def yolo_cvat_ultralytics(top):
    """CVAT's Ultralytics YOLO: data.yaml names lists, which name images/<subset>."""
    yolo_set(top, ["train", "train", "test"], suffix=".png")
    write(
        top / "data.yaml",
        "path:  ./ # dataset root dir\ntrain: train.txt\ntest: test.txt\n\n# Classes\nnames:\n  0: gun\n",
    )
    write(top / "train.txt", "images/train/0.png\nimages/train/1.png\n")
    write(top / "test.txt", "images/test/2.png\n")
    return parted(["train/0.png", "train/1.png"], test=["test/2.png"])


@layout
def yolo_fiftyone(top):
    """FiftyOne's YOLOv5: dataset.yaml with slashes at the ends of its folders."""
    yolo_set(top, ["train", "val"])
    write(
        top / "dataset.yaml",
        "names:\n  0: gun\npath: /datasets/fiftyone/x\ntrain: ./images/train/\nval: ./images/val/\n",
    )
    return parted(["train/0.jpg"], ["val/1.jpg"])


@layout
def yolo_darknet_data(top):
    """Darknet: class.names, a .data file, lists, labels beside the images of images/train and images/valid."""
    for part in ("train", "valid"):
        draw(top / "images" / part / f"{part[0]}.jpg")
        yolo(top / "images" / part / f"{part[0]}.txt")
        write(top / f"gen_{part}.txt", f"dataset/darknet/images/{part}/{part[0]}.jpg\n")
    write(top / "class.names", "gun\n")
    write(top / "gen_config.data", "classes=1\ntrain=dataset/gen_train.txt\nvalid=dataset/gen_valid.txt\n")
    return parted(["train/t.jpg"], ["valid/v.jpg"])


@layout
def yolo_bare_lists(top):
    """classes.txt, images/, labels/, and lists beside them."""
    yolo_set(top, ["."] * 3)
    write(top / "classes.txt", "gun\n")
    write(top / "train.txt", "0.jpg\n1.jpg\n")
    write(top / "val.txt", "images/2.jpg\n")
    return parted(["0.jpg", "1.jpg"], ["2.jpg"])


@layout
def yolo_label_studio(top):
    """Label Studio's YOLO: classes.txt and notes.json beside images/ and labels/."""
    yolo_set(top, ["."] * 2)
    write(top / "classes.txt", "gun\n")
    write(top / "notes.json", json.dumps({"categories": [{"id": 0, "name": "gun"}], "info": {}}))
    return parted(none=["0.jpg", "1.jpg"])


@layout
def yolo_beside_in_images(top):
    """labelImg's YOLO: text files and classes.txt among the images."""
    draw(top / "train/1.jpg")
    yolo(top / "train/1.txt")
    write(top / "train/classes.txt", "gun\n")
    return parted(["train/1.jpg"])


@layout
def yolo_voc_folders(top):
    """Labels in labels/, images in JPEGImages/, as Darknet's VOC script leaves them."""
    draw(top / "JPEGImages/1.jpg")
    yolo(top / "labels/1.txt")
    write(top / "voc.names", "gun\n")
    return parted(none=["JPEGImages/1.jpg"])


@layout
def yolo_test_called_test(top):
    """An image called test has labels called test.txt."""
    for name in ("test", "other"):
        draw(top / f"images/{name}.jpg")
        yolo(top / f"labels/{name}.txt")
    write(top / "classes.txt", "gun\n")
    return parted(none=["test.jpg", "other.jpg"])


# --- tables ---

OPEN_IMAGES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"


def open_images(file, identities):
    left, top, right, bottom = A
    shares = f"{left / WIDE},{right / WIDE},{top / HIGH},{bottom / HIGH}"
    write(file, OPEN_IMAGES + "".join(f"{name},xclick,/m/01,1,{shares},0,0,0\n" for name in identities))


@layout
def open_images_three(top):
    """Three tables, and train/, validation/, test/."""
    for part in ("train", "validation", "test"):
        draw(top / part / f"{part}0.jpg")
        open_images(top / f"{part}-annotations-bbox.csv", [f"{part}0"])
    write(top / "class-descriptions-boxable.csv", "/m/01,gun\n/m/02,knife\n")
    return parted(*([f"{part}/{part}0.jpg"] for part in ("train", "validation", "test")))


@layout
def open_images_toolkit(top):
    """The OIDv4 toolkit: csv_folder/, and images by part and class."""
    for part in ("train", "validation"):
        draw(top / f"Dataset/{part}/Gun/{part}9.jpg")
        open_images(top / f"csv_folder/{part}-annotations-bbox.csv", [f"{part}9"])
    write(top / "csv_folder/class-descriptions-boxable.csv", "/m/01,gun\n")
    return parted(["Dataset/train/Gun/train9.jpg"], ["Dataset/validation/Gun/validation9.jpg"])


@layout
def open_images_fiftyone(top):
    """FiftyOne's download: data/, labels/detections.csv and metadata/classes.csv in each part."""
    for part in ("train", "test"):
        draw(top / part / f"data/{part}7.jpg")
        open_images(top / part / "labels/detections.csv", [f"{part}7"])
        write(top / part / "metadata/classes.csv", "/m/01,gun\n")
    return parted(["train/data/train7.jpg"], test=["test/data/test7.jpg"])


@layout
def csv_with_names_of_elsewhere(top):
    """boxes.csv with an absolute name, one that climbs, backslashes, and a bare one."""
    for name in ("a/0.png", "a/1.png", "b/2.png", "images/3.png"):
        draw(top / name)
    names = ("/home/x/a/0.png", "../bags/a/1.png", r"b\2.png", "3.png")
    rows = "".join(f"{name},{','.join(map(str, A))},gun\n" for name in names)
    write(top / "boxes.csv", f"image,left,top,right,bottom,class\n{rows}")
    return parted(none=["a/0.png", "a/1.png", "b/2.png", "images/3.png"])


def made(name, top):
    """The expected, and the SOURCE."""
    top.mkdir()
    expected = LAYOUTS[name](top)
    expected, inner = expected if isinstance(expected, tuple) else (expected, "")
    return expected, top / inner if inner else top


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_at_the_first_try_and_checked_the_same(name, tmp_path):
    expected, source = made(name, tmp_path / "bags")
    boxes = read_boxes(source)
    found = {
        path: (tuple(np.round(xyxy, 3).ravel().tolist()), part)
        for path, xyxy, part in zip(boxes.paths, boxes.xyxy, boxes.parts, strict=True)
    }
    assert found == {path: (tuple(map(float, box)), part) for path, (box, part) in expected.items()}
    assert boxes.counts()["gun"] == len(expected)
    check = check_source(str(source))
    assert [f.sentence for f in check.findings if f.severity == ERROR] == []
    assert check.parts == dict(Counter(part for _, part in expected.values() if part))
    assert check.counts == boxes.counts()


# --- what is said ---


def said_of(source):
    """The notes of a source, which check says too."""
    boxes = read_boxes(source)
    check = check_source(str(source))
    assert [f.sentence for f in check.findings if f.kind == "layout"] == list(boxes.remarks)
    return boxes.remarks


def test_what_is_found_elsewhere_is_said(tmp_path):
    _, source = made("coco_label_studio", tmp_path / "bags")
    (note,) = said_of(source)
    assert note.startswith(
        "3 images of result.json found by name elsewhere below the source: ..\\..\\label-studio"
    )
    assert note.endswith("cb0618f0-bag_0.jpg is images/cb0618f0-bag_0.jpg, for example.")
    _, stems = made("voc_stem_elsewhere", tmp_path / "stems")
    (note,) = said_of(stems)  # the name that was found, not that in <filename>
    assert note == (
        "3 images of annotations found by name elsewhere below the source: Annotation/0000.xml is train/0000.jpg, "
        "for example."
    )
    _, plain = made("coco_images_subset", tmp_path / "plain")
    assert said_of(plain) == ()


def test_equal_parts_and_absent_folders_are_said(tmp_path):
    _, source = made("yolo_coco128", tmp_path / "coco128")
    assert said_of(source) == ("coco128.yaml: all parts are the same images, which is no split.",)
    _, source = made("yolo_lists_of_folders", tmp_path / "voc")
    text = (source / "VOC.yaml").read_text().replace("test: [images/test2007]", "test: images/test2007/")
    write(source / "VOC.yaml", text)
    assert said_of(source) == (
        "VOC.yaml: validation and test are the same images, which count as validation.",
    )
    _, source = made("yolo_roboflow", tmp_path / "roboflow")
    assert said_of(source) == (
        "data.yaml: test: ../test/images has no images in the source: it declares no part.",
    )
    _, source = made("voc_trainval_test", tmp_path / "devkit")
    write(source / "ImageSets/Main/test.txt", "000003\n000004\n999999\n")
    assert said_of(source) == ("ImageSets/Main/test.txt lists 1 image that is not there, such as 999999.",)


def test_folders_of_nothing_but_test_images_are_no_split(tmp_path):
    yolo_set(tmp_path / "bags", ["test"] * 2)
    write(tmp_path / "bags/classes.txt", "gun\n")
    assert said_of(tmp_path / "bags") == (
        "Folders name test, and no training: their names do not count as parts.",
    )


# --- what is split ---


def test_a_part_that_is_not_declared_is_dealt_out_of_training_by_group_and_said(tmp_path):
    top = tmp_path / "bags"
    for i in range(20):
        draw(top / f"JPEGImages/{i // 2:03d}_{i % 2}.jpg")
        voc(top / f"Annotations/{i // 2:03d}_{i % 2}.xml", "x.jpg")
    write(top / "ImageSets/Main/trainval.txt", "".join(f"{i // 2:03d}_{i % 2}\n" for i in range(14)))
    write(top / "ImageSets/Main/test.txt", "".join(f"{i // 2:03d}_{i % 2}\n" for i in range(14, 20)))
    split = split_boxes(read_boxes(top), group=r"(\d+)_", seed=3)
    test = {path for path, part in zip(split.images.paths, split.parts, strict=True) if part == "test"}
    assert test == {f"{i:03d}_{j}.jpg" for i in (7, 8, 9) for j in (0, 1)}
    assert [len(split.indices(part)) for part in ("training", "validation")] == [10, 4]
    assert not set(split.groups_in("training")) & set(split.groups_in("validation"))
    (note,) = [warning for warning in split.warnings if "declares" in warning]
    assert note == (
        f"{top} declares no validation part: of its 14 training images 4 for validation are set aside, by group, "
        "with seed 3; the test part is as declared."
    )
    kinds = [
        (f.kind, f.paths)
        for f in check_source(str(top), group=r"(\d+)_").findings
        if f.kind == "undeclared-part"
    ]
    assert kinds == [("undeclared-part", ("validation",))]


def test_images_that_a_split_does_not_name_are_training_and_said(tmp_path):
    yolo_set(tmp_path, ["a"] * 6 + ["b"] * 2 + ["c"] * 2 + ["more"])
    write(tmp_path / "data.yaml", f"train: images/a\nval: images/b\ntest: images/c\n{NAMES}")
    boxes = read_boxes(tmp_path)
    split = split_boxes(boxes)
    assert Counter(split.parts) == {"training": 7, "validation": 2, "test": 2}
    said = f"1 image of {tmp_path} is in no declared part, such as more/10.jpg: it counts as training."
    assert said in split.warnings
    assert "undeclared-part" in {found.kind for found in check_source(str(tmp_path)).findings}


def test_yolo_that_is_written_declares_the_parts(tmp_path):
    _, source = made("coco_same_names", tmp_path / "bags")
    folder = write_boxes(read_boxes(source), tmp_path / "yolo", "yolo")
    assert (folder / "data.yaml").read_text().startswith("path: .\ntrain: train.txt\nval: val.txt\nnames:\n")
    assert (folder / "train.txt").read_text() == "./images/train/0.jpg\n./images/train/1.jpg\n"
    (folder / "groups.csv").unlink()  # which says it too
    assert read_boxes(folder).parts == ("training", "training", "validation")


def test_an_empty_image_has_the_part_of_its_list(tmp_path):
    _, source = made("yolo_train_lists", tmp_path / "bags")
    (source / "labels/all/3.txt").unlink()
    boxes = read_boxes(source, unlabelled="negative")
    assert dict(zip(boxes.paths, boxes.parts, strict=True))["all/3.jpg"] == "validation"


# --- what cannot be ---


def refused(source, said, **options):
    """The one sentence of a source that is refused; check has it as an error."""
    with pytest.raises(DataFault, match=said) as caught:
        read_boxes(source, **options)
    errors = [found.sentence for found in check_source(str(source)).findings if found.severity == ERROR]
    assert errors
    return str(caught.value)


def test_two_files_of_one_name_are_never_guessed(tmp_path):
    for folder in ("left", "right"):
        draw(tmp_path / folder / "1.jpg")
    draw(tmp_path / "2.jpg")
    coco(tmp_path / "a.json", ["/elsewhere/1.jpg", "2.jpg"])
    refused(tmp_path, r"a.json image 0: /elsewhere/1.jpg could be left/1.jpg or right/1.jpg")
    boxes = read_boxes(tmp_path, faults="clip", unlabelled="negative")
    assert boxes.paths == ("2.jpg",)  # neither of the two counts as empty
    assert "could be left/1.jpg or right/1.jpg: left out." in boxes.notes[0]


def test_one_image_for_two_names_is_never_guessed(tmp_path):
    draw(tmp_path / "images/1.jpg")
    coco(tmp_path / "a.json", [r"..\upload\4\1.jpg", r"..\upload\5\1.jpg"])
    refused(
        tmp_path,
        r"a.json: .*4.1.jpg and .*5.1.jpg both could be images/1.jpg, the only image that is called so",
    )


def test_labels_that_belong_to_two_images(tmp_path):
    yolo_set(tmp_path, ["train", "val"])
    draw(tmp_path / "images/train/0.png")
    write(tmp_path / "data.yaml", NAMES)
    refused(tmp_path, r"labels/train/0.txt: its image could be images/train/0.jpg or images/train/0.png")
    assert read_boxes(tmp_path, faults="clip", unlabelled="negative").paths == ("val/1.jpg",)


def test_an_annotation_of_one_part_takes_no_image_of_another(tmp_path):
    for part, names in (("train", ["0.jpg"]), ("val", ["1.jpg"])):
        for name in names:
            draw(tmp_path / "images" / part / name)
        coco(tmp_path / f"annotations/instances_{part}.json", names)
    coco(tmp_path / "annotations/instances_train.json", ["0.jpg", "1.jpg"])
    refused(tmp_path, r"instances_train.json image 1: 1.jpg does not exist")
    assert dict(zip(("0", "1"), read_boxes(tmp_path, faults="clip").parts, strict=True)) == {
        "0": "training",
        "1": "validation",
    }


def test_a_missing_file_of_a_folder_that_is_there_is_not_looked_for_elsewhere(tmp_path):
    for name in ("cats/1.jpg", "dogs/2.jpg"):
        draw(tmp_path / name)
    coco(tmp_path / "a.json", ["cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg"])
    refused(tmp_path, r"a.json image 1: dogs/1.jpg does not exist")


@pytest.mark.parametrize("make", ["yolo_train_lists", "yolo_named_folders", "voc_trainval_test"])
def test_an_image_in_two_parts_is_refused(make, tmp_path):
    _, source = made(make, tmp_path / "bags")
    if make == "yolo_train_lists":
        write(source / "val.txt", "images/all/2.jpg\nimages/all/3.jpg\n")
    elif make == "yolo_named_folders":
        write(source / "data.yaml", f"train: images\nval: images/2024\n{NAMES}")
    else:
        write(source / "ImageSets/Main/test.txt", "000002\n000003\n")
    said = refused(source, r": 1 image both in training and in (validation|test), such as ")
    assert said.endswith("Take what is in both out of one of them.")


def test_an_image_in_two_coco_files_is_refused(tmp_path):
    draw(tmp_path / "images/1.jpg")
    for part in ("train", "val"):
        coco(tmp_path / f"annotations/instances_{part}.json", ["1.jpg"])
    refused(tmp_path, r"1 image both in training and in validation, such as images/1.jpg")


def test_two_files_that_name_classes_differently(tmp_path):
    yolo_set(tmp_path, ["train"] * 2)
    write(tmp_path / "a.yaml", "names: [gun, knife]\n")
    write(tmp_path / "b.yaml", "names: [knife, gun]\n")
    said = refused(tmp_path, r"two files that name classes, and they differ: a.yaml and b.yaml")
    assert said.endswith(f"Name the one that is meant: {tmp_path / 'b.yaml'}.")
    assert read_boxes(tmp_path / "b.yaml").class_names == ("knife", "gun")  # the remedy works
    write(tmp_path / "b.yaml", "names: ['gun', 'knife']\n")
    assert read_boxes(tmp_path).class_names == ("gun", "knife")


# --- what lies elsewhere ---


def test_what_lies_outside_is_named_and_not_opened(tmp_path):
    top = tmp_path / "bags"
    draw(tmp_path / "other/1.jpg")
    draw(top / "images/1.jpg")
    coco(top / "a.json", ["../other/1.jpg"])
    refused(top, r"a.json image 0: ../other/1.jpg is no path inside the source")


def test_a_split_that_lies_outside_is_named_and_not_opened(tmp_path):
    yolo_set(tmp_path / "other", ["train"])
    yolo_set(tmp_path / "bags", ["train", "val"])
    write(tmp_path / "bags/data.yaml", f"train: ../other/images/train\nval: images/val\n{NAMES}")
    assert said_of(tmp_path / "bags") == (
        "data.yaml: train: ../other/images/train lies outside the source and is not opened: it declares no part.",
    )


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_out_of_the_source_are_not_followed(kind, tmp_path):
    draw(tmp_path / "other/1.jpg")
    top = tmp_path / "bags"
    draw(top / "2.jpg")
    if kind == "file":
        (top / "1.jpg").symlink_to(tmp_path / "other/1.jpg")
    else:
        (top / "images").symlink_to(tmp_path / "other")
    name = "1.jpg" if kind == "file" else "images/1.jpg"
    coco(top / "a.json", [name, "2.jpg"])
    link = name.partition("/")[0]
    refused(
        top,
        rf"a.json image 0: {name} does not exist: {link} is a link out of the source, which is not followed",
    )
    assert read_boxes(top, faults="clip").paths == ("2.jpg",)


def test_links_within_the_source_are(tmp_path):
    draw(tmp_path / "store/1.jpg")
    (tmp_path / "images").symlink_to(tmp_path / "store")
    write(tmp_path / "boxes.csv", "image,left,top,right,bottom,class\nimages/1.jpg,1,2,9,9,gun\n")
    assert read_boxes(tmp_path, unlabelled="skip").paths == ("images/1.jpg",)


def test_a_path_outside_the_current_folder_is_named(tmp_path, monkeypatch):
    yolo_set(tmp_path / "data", ["train", "val"])
    write(tmp_path / "configs/bags.yaml", f"path: ../data\ntrain: images/train\nval: images/val\n{NAMES}")
    source = tmp_path / "configs/bags.yaml"
    monkeypatch.chdir(tmp_path)
    assert read_boxes(source).parts == ("training", "validation")  # below the current folder
    monkeypatch.chdir(tmp_path / "configs")
    said = refused(
        source, r"bags.yaml: path: ../data lies outside .*configs and the current folder, and is not opened"
    )
    assert said.endswith("Name the folder that holds the images and their labels, with this file in it.")
    source.rename(tmp_path / "data/bags.yaml")
    assert read_boxes(tmp_path / "data").parts == ("training", "validation")  # the remedy works


def test_a_folder_without_labels_is_no_set_of_boxes(tmp_path):
    draw(tmp_path / "1.jpg")
    write(tmp_path / "notes.txt", "Taken in May.\n")
    write(tmp_path / "settings.yaml", "gamma: 2\n")
    assert formats_in(tmp_path) == []
