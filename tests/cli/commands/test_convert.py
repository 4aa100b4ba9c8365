"""`tlkit convert` from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.formats.writers import difference


@pytest.fixture
def bags(tmp_path):
    root = tmp_path / "bags"
    root.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (60, 40)).save(root / name)
    (root / "boxes.csv").write_text(
        "image,left,top,right,bottom,class\na.png,1.5,2,30,40,gun\nb.png,,,,,\nc.png,0,0,60,40,knife\n"
    )
    return root


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv"])
def test_every_form_says_what_it_wrote(form, bags, tmp_path, tlkit_command):
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", form, "--json")
    outcome = json.loads(said.out)
    assert said.code == 0
    assert outcome["schema_version"] == 1
    assert (outcome["images"], outcome["negative"], outcome["boxes"]) == (3, 1, 2)
    assert outcome["per_class"] == {"gun": 1, "knife": 1}
    assert outcome["notes"] == []
    assert difference(read_boxes(bags), read_boxes(tmp_path / "out")) is None


def test_crops_for_a_classifier(bags, tmp_path, tlkit_command):
    refused = tlkit_command("convert", bags, tmp_path / "out", "--to", "crops")
    assert (refused.code, (tmp_path / "out").exists()) == (3, False)  # three images are too few to split
    for number in range(9):
        Image.new("L", (60 + number, 40), 9 * number).save(bags / f"{number}.png")
        with (bags / "boxes.csv").open("a") as table:
            table.write(f"{number}.png,5,5,30,30,{('gun', 'knife')[number % 2]}\n")
    said = tlkit_command(
        "convert", bags, tmp_path / "out", "--to", "crops", "--negative", "nothing", "--json"
    )
    outcome = json.loads(said.out)
    assert outcome["per_class"].keys() == {"gun", "knife", "nothing"}
    assert len(list((tmp_path / "out" / "images").iterdir())) == sum(outcome["per_class"].values())
    assert (tmp_path / "out" / "labels.csv").is_file()
    refused = tlkit_command("convert", bags, tmp_path / "two", "--to", "crops", "--link")
    assert refused.code == 2
    assert "--link does not go with --to crops" in refused.err


def test_people_read_a_table(bags, tmp_path, tlkit_command):
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "coco", "--link")
    assert said.code == 0
    assert "boxes: 2" in said.out
    assert "knife" in said.out
    assert (tmp_path / "out" / "images" / "a.png").samefile(bags / "a.png")


def test_faults_are_refused_then_clipped_and_told(bags, tmp_path, tlkit_command):
    with (bags / "boxes.csv").open("a") as table:
        table.write("a.png,50,20,70,30,gun\n" + "".join(f"b.png,5,{i},5,9,gun\n" for i in range(12)))
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "voc")
    assert said.code == 3
    assert "boxes.csv line 5: box 50,20,70,30 reaches out of its image of 60x40" in said.err
    assert not (tmp_path / "out").exists()
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "voc", "--faults", "clip")
    assert said.code == 0
    assert "reaches out of its image of 60x40: clipped." in said.err
    assert (
        "1 image left out, as its annotation has no one meaning (10 zero-size, 2 inverted): b.png."
        in said.err
    )
    assert "And 3 more; --json lists all." in said.err
    assert "b.png" not in read_boxes(tmp_path / "out").paths
    assert read_boxes(tmp_path / "out").xyxy[0].tolist() == [[1.5, 2, 30, 40], [50, 20, 60, 30]]


def test_unlabelled_images(bags, tmp_path, tlkit_command):
    Image.new("L", (60, 40)).save(bags / "new.png")
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "yolo", "--json")
    assert said.code == 3
    assert json.loads(said.out)["error"]["kind"] == "DataFault"
    said = tlkit_command(
        "convert", bags, tmp_path / "out", "--to", "yolo", "--unlabelled", "negative", "--json"
    )
    assert json.loads(said.out)["negative"] == 2


def test_a_folder_in_use_is_left_alone(bags, tmp_path, tlkit_command):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "csv")
    assert said.code == 2
    assert "is there already" in said.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere", "out", "--to", "csv"], 3, "nowhere does not exist"),
        (["bags", "out", "--to", "png"], 2, "png"),
        (["bags", "out"], 2, "--to"),
    ],
)
def test_what_cannot_be(arguments, code, said, bags, monkeypatch, tmp_path, tlkit_command):
    monkeypatch.chdir(tmp_path)
    result = tlkit_command("convert", *arguments)
    assert result.code == code
    assert said in result.err


@pytest.fixture
def voc_bags(tmp_path):
    """VOC as labelling tools leave it: trainval.txt and test.txt, of which one line has no image."""
    root = tmp_path / "voc"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for i in range(8):
        Image.effect_noise((60, 40), 40 + i).save(root / f"JPEGImages/{i}.jpg")
        (root / f"Annotations/{i}.xml").write_text(
            f"<annotation><filename>{i}.jpg</filename><object><name>gun</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
            "<xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )
    (root / "ImageSets/Main/trainval.txt").write_text("0\n1\n2\n3\n4\n5\n")
    (root / "ImageSets/Main/test.txt").write_text("6\n7\n99\n")
    return root


def test_a_declared_split_is_converted_and_what_of_it_is_absent_said(voc_bags, tmp_path, tlkit_command):
    said = tlkit_command("convert", voc_bags, tmp_path / "out", "--to", "csv", "--json")
    note = "ImageSets/Main/test.txt lists 1 image that is not there, such as 99."
    assert (said.code, json.loads(said.out)["notes"]) == (0, [note])
    assert read_boxes(tmp_path / "out").parts == ("training",) * 6 + ("test",) * 2
    checked = tlkit_command("check", voc_bags, "--json")
    answer = json.loads(checked.out)
    assert (checked.code, answer["parts"]) == (0, {"training": 6, "test": 2})
    assert {"layout", "undeclared-part"} <= {found["kind"] for found in answer["findings"]}
    assert note in {found["sentence"] for found in answer["findings"]}


def test_check_and_convert_refuse_the_same_layouts(voc_bags, tmp_path, tlkit_command):
    (voc_bags / "ImageSets/Main/test.txt").write_text("5\n6\n7\n")
    sentence = "ImageSets/Main: 1 image both in training and in test, such as JPEGImages/5.jpg."
    said = tlkit_command("convert", voc_bags, tmp_path / "out", "--to", "csv")
    assert (said.code, sentence in said.err, "out of one of them" in said.err) == (3, True, True)
    checked = tlkit_command("check", voc_bags, "--json")
    assert (checked.code, sentence in checked.out) == (3, True)
    (voc_bags / "ImageSets/Main/test.txt").write_text("6\n7\n")
    (voc_bags / "JPEGImages/copy").mkdir()
    (voc_bags / "JPEGImages/0.jpg").rename(voc_bags / "JPEGImages/copy/0.jpg")
    (voc_bags / "more").mkdir()
    Image.new("L", (60, 40)).save(voc_bags / "more/0.jpg")
    sentence = "Annotations/0.xml: its image could be JPEGImages/copy/0.jpg or more/0.jpg"
    said = tlkit_command("convert", voc_bags, tmp_path / "out", "--to", "csv")
    assert (said.code, sentence in said.err) == (3, True)
    assert sentence in tlkit_command("check", voc_bags, "--json").out
    (voc_bags / "more/0.jpg").unlink()
    assert tlkit_command("convert", voc_bags, tmp_path / "out", "--to", "csv").code == 0


def test_what_does_not_survive_is_named_by_the_folder_that_was_typed(
    bags, tmp_path, monkeypatch, tlkit_command
):
    from tlkit.data.boxes.formats import writers as box_writers

    def forgetful(boxes, folder):
        (folder / "boxes.csv").write_text("image,left\n")

    monkeypatch.setitem(box_writers.WRITERS, "csv", forgetful)
    said = tlkit_command("convert", bags, tmp_path / "out", "--to", "csv")
    assert said.code == 1
    assert f"does not survive as csv: {tmp_path / 'out' / 'boxes.csv'} has no column top" in said.err
    assert ".out-" not in said.err


@pytest.fixture
def cells(tmp_path):
    """Two images, the first with an index image of two objects, the second of none."""
    values = np.zeros((40, 60), np.uint8)
    values[3:20, 5:30], values[22:39, 31:59] = 1, 9
    for name, pixels in (("a", values), ("b", values * 0)):
        for folder in ("images", "masks"):
            (tmp_path / "cells" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"cells/masks/{name}.png")
        Image.fromarray(255 - pixels).save(tmp_path / f"cells/images/{name}.png")
    return tmp_path / "cells"


def test_masks_go_to_coco_and_come_back_as_images(cells, tmp_path, tlkit_command):
    said = tlkit_command("convert", cells, tmp_path / "coco", "--to", "coco", "--json")
    outcome = json.loads(said.out)
    assert (said.code, outcome["boxes"], outcome["masks"], outcome["negative"]) == (0, 2, 2, 1)
    (one, other) = json.loads((tmp_path / "coco/annotations.json").read_text())["annotations"]
    assert one["segmentation"]["size"] == [40, 60]
    assert (one["bbox"], one["area"], other["bbox"]) == ([5, 3, 25, 17], 25 * 17, [31, 22, 28, 17])
    said = tlkit_command("convert", tmp_path / "coco", tmp_path / "masks", "--to", "masks")
    assert (said.code, "masks: 2" in said.out) == (0, True)
    first, second = (np.asarray(Image.open(root / "masks/a.png")) for root in (cells, tmp_path / "masks"))
    assert np.array_equal(np.minimum(first, 2), second)
    assert tlkit_command("check", tmp_path / "masks").code == tlkit_command("check", cells).code


def test_boxes_go_without_masks_where_they_are_not_wanted_or_have_no_room(
    cells, bags, tmp_path, tlkit_command
):
    assert tlkit_command("convert", cells, tmp_path / "one", "--to", "coco", "--no-masks").code == 0
    assert "segmentation" not in (tmp_path / "one/annotations.json").read_text()
    assert tlkit_command("convert", cells, tmp_path / "two", "--to", "csv").code == 0
    assert not (tmp_path / "two/rle.csv").exists()
    refused = tlkit_command("convert", cells, tmp_path / "three", "--to", "masks", "--no-masks")
    assert (refused.code, "--no-masks leaves them out" in refused.err) == (2, True)
    refused = tlkit_command("convert", bags, tmp_path / "three", "--to", "masks")
    assert (refused.code, "1 of 1 boxes of a.png have no mask" in refused.err) == (3, True)


def test_a_mask_that_is_none_refuses_and_is_left_out_by_clip(cells, tmp_path, tlkit_command):
    Image.fromarray(np.full((40, 60), 255, np.uint8) * (np.arange(60) > 30)).save(cells / "masks/b.png")
    for verb in (("check", cells), ("convert", cells, tmp_path / "out", "--to", "masks")):
        refused = tlkit_command(*verb)
        assert refused.code == 3
        assert "masks/b.png: has the values 0 and 255 only" in refused.out + refused.err
    said = tlkit_command("convert", cells, tmp_path / "out", "--to", "masks", "--faults", "clip", "--json")
    assert (said.code, json.loads(said.out)["images"]) == (0, 1)
