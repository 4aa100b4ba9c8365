"""Files of others are read, and nothing in them is run or followed out of their folder."""

from __future__ import annotations

import ast
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from tests.fuzzing import huge
from tlkit.backbones.weights import find_weights, load_weights
from tlkit.cli.main import main
from tlkit.core.safe_loading.keras_models import read_model
from tlkit.core.safe_loading.saved_models import check_saved_model
from tlkit.data.boxes.dataset import read_boxes
from tlkit.data.boxes.formats.voc import parsed_xml
from tlkit.data.images.decoding.decode import decode
from tlkit.data.images.inspection import inspect_file
from tlkit.data.images.sources import read_images
from tlkit.data.images.splits import read_manifest, split_images
from tlkit.errors import DataFault, ModelFault, TlkitError

ROOT = Path(__file__).resolve().parents[1]


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# --- .keras ---


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """A small network, saved."""
    file = tmp_path_factory.mktemp("model") / "model.keras"
    images = keras.Input((8, 8, 3))
    keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(images))).save(file)
    return file


def planted(harmless, file, layer):
    """The same with another second layer in its description."""
    with zipfile.ZipFile(harmless) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            contents = old.read(name)
            if name == "config.json":
                config = json.loads(contents)
                one = config["config"]["layers"][1]
                one.update({"registered_name": None, **layer})
                contents = json.dumps(config).encode()
            new.writestr(name, contents)
    return file


@pytest.fixture
def sentinel(tmp_path):
    """A file that a payload would write."""
    return tmp_path / "it-ran"


@pytest.fixture
def lambda_file(tmp_path, sentinel):
    """A network with a Lambda layer whose code writes the sentinel, as Keras saves it."""
    file, place = tmp_path / "hostile.keras", str(sentinel)
    images = keras.Input((8, 8, 3))
    payload = keras.layers.Lambda(lambda x: (open(place, "w").write("x"), x)[1], output_shape=(8, 8, 3))  # noqa: SIM115, PTH123
    keras.Model(images, keras.layers.Flatten()(payload(images))).save(file)
    sentinel.unlink(missing_ok=True)  # building it ran it, once
    return file


def test_a_lambda_layer_is_refused_wherever_a_model_is_read(lambda_file, sentinel):
    from tlkit.tasks.classification.serving.export import load_classifier
    from tlkit.tasks.detection.build import load_detector
    from tlkit.tasks.detection.sliding_window.workflow import load_classifier as of_windows

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    run = lambda_file.parent
    shutil.copyfile(lambda_file, run / "model.keras")
    readers = {
        "weights": lambda: load_weights(network, "resnet50", find_weights("resnet50", str(lambda_file))),
        "detector": lambda: load_detector(lambda_file),
        "export": lambda: load_classifier(run),
        "slide-window": lambda: of_windows(run, "hostile"),
    }
    for read in readers.values():
        with pytest.raises(ModelFault, match="it holds code, such as a Lambda layer, which is never run"):
            read()
    assert not sentinel.exists()


HOSTILE = {
    "a function of the system": {"module": "os", "class_name": "system", "config": "touch it"},
    "a built-in": {"module": "builtins", "class_name": "exec", "config": {"name": "x"}},
    "a class of the library": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "it"]}},
    "a tool of Keras": {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "file:///etc/passwd"}},
    "inner Keras": {"module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
    "a SavedModel as a layer": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "."}},
    "a Lambda by hand": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}},
    },
    "a module that is not there": {"module": "antigravity", "class_name": "fly", "config": {}},
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_description_that_names_other_things_is_refused(name, harmless, tmp_path, monkeypatch):
    import sys

    monkeypatch.chdir(tmp_path)
    file = planted(harmless, tmp_path / "hostile.keras", HOSTILE[name])
    sys.modules.pop("antigravity", None)
    with pytest.raises(ValueError, match=".") as caught:
        read_model(file)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["hostile.keras"]
    assert "antigravity" not in sys.modules


def test_the_harmless_one_is_read_and_a_damaged_one_is_told(harmless, tmp_path):
    assert len(read_model(harmless).layers) == 3
    for number, contents in enumerate((b"", b"PK\3\4", harmless.read_bytes()[:500], b"\x80\x04}.")):
        (tmp_path / f"{number}.keras").write_bytes(contents)
        with pytest.raises(ValueError, match="."):
            read_model(tmp_path / f"{number}.keras")


# --- SavedModel ---


class Program(tf.Module):
    """What a network need not do."""

    def __init__(self, file, kind):
        super().__init__()
        self.file, self.kind = file, kind

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(self, image_bytes):
        number = tf.size(image_bytes)
        if self.kind == "write":
            tf.io.write_file(self.file, "x")
        if self.kind == "save":
            tf.raw_ops.SaveV2(
                prefix=self.file, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones([1])]
            )
        if self.kind == "delete":
            prefixes = [f"{self.file}/part/x"]
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=prefixes, destination_prefix=f"{self.file}/whole", delete_old_dirs=True
            )
        if self.kind == "show":
            tf.print("\x1b[2J")
        if self.kind == "read":
            number += tf.strings.length(tf.io.read_file("/etc/hostname"))
        if self.kind == "python":
            number = tf.numpy_function(lambda n: n, [number], tf.int32)
        row = tf.ones([tf.size(image_bytes), 2]) * tf.cast(number, tf.float32)
        return {"probability": row, "label": tf.as_string(row[:, 0]), "classes": tf.constant(["a", "b"])}


@pytest.fixture
def hostile_run(tmp_path, sentinel):
    """kind -> the folder of a finished run whose SavedModel does that."""

    def make(kind):
        run = tmp_path / "runs" / "hostile" / "1"
        program = Program(str(sentinel), kind)
        tf.saved_model.save(program, str(run), signatures={"serving_default": program.answer})
        card = {
            "schema_version": 1,
            "name": "hostile",
            "number": 1,
            "recipe": "fine-tune",
            "classes": ["a", "b"],
        }
        (run / "card.json").write_text(json.dumps(card))
        sentinel.unlink(missing_ok=True)
        return run

    return make


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("write", "WriteFile"),
        ("read", "ReadFile"),
        ("python", "PyFunc"),
        ("save", "SaveV2"),
        ("delete", "MergeV2Checkpoints"),
        ("show", "PrintV2"),
    ],
)
def test_a_saved_model_that_reaches_out_is_refused(kind, name, hostile_run, make_folder, sentinel):
    run = hostile_run(kind)
    with pytest.raises(ModelFault, match=f"operation (Eager)?{name}"):
        check_saved_model(run)
    photos = make_folder(a=1, b=1)
    for verb in ("predict", "evaluate"):
        result = invoke(verb, run, photos)
        assert result.exit_code == 4, result.output
        assert f"SavedModel with the operation {name}" in result.stderr.replace("Eager", "")
    assert list(sentinel.parent.glob(f"{sentinel.name}*")) == []


def test_export_of_a_hostile_run(hostile_run, lambda_file, sentinel):
    run = hostile_run("write")
    shutil.copyfile(lambda_file, run / "model.keras")
    for target in ("onnx", "litert"):
        result = invoke("export", run, "--format", target)
        assert result.exit_code in {4, 5}, result.output
        assert "Traceback" not in result.output
    assert not sentinel.exists()


def test_a_saved_model_that_only_computes_is_loaded(hostile_run):
    run = hostile_run("plain")
    check_saved_model(run)
    (run / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ModelFault, match="is damaged"):
        check_saved_model(run)


# --- our own code ---

NEVER = {
    ("pickle", "load"), ("pickle", "loads"), ("joblib", "load"), ("marshal", "loads"), ("marshal", "load"),
    ("yaml", "load"), ("os", "system"), ("shutil", "unpack_archive"), ("torch", "load"),
    ("keras", "config.enable_unsafe_deserialization"),
}  # fmt: skip
CALLS_OF_OTHERS = {
    "eval",
    "extractall",
    "enable_unsafe_deserialization",
    "Lambda",
    "TFSMLayer",
    "unpack_archive",
}


@pytest.mark.parametrize("file", sorted((ROOT / "tlkit").rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_of_ours_would_run_a_file(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert (owner, name) not in NEVER
        assert name not in CALLS_OF_OTHERS
        assert said.get("allow_pickle", "False") == "False"
        assert said.get("safe_mode", "True") == "True"
        if name == "load_model":
            assert file.stem == "keras_models"
        if name in {"load", "load_partial"} and "saved_model" in owner:
            assert file.stem == "saved_models"
        if (owner, name) == ("np", "load"):
            assert "allow_pickle" in said


# --- XML, JSON and tables ---

LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(12))
XML = {
    "many laughs": f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]><annotation>&a12;</annotation>',
    "a file": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
    "another machine": '<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd"><annotation/>',
    "a parameter": '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><annotation/>',
    "an entity that is none": "<annotation>&e;</annotation>",
    "an encoding that is none": '<?xml version="1.0" encoding="x-none"?><annotation/>',
    "an encoding of many bytes": '<?xml version="1.0" encoding="utf-7"?><annotation/>',
    "an encoding that is no text": '<?xml version="1.0" encoding="rot13"?><annotation/>',
    "a million levels": "<a>" * 1_000_000,
    "nothing": "",
}


@pytest.mark.parametrize("name", XML)
def test_hostile_xml_is_refused(name, tmp_path):
    (tmp_path / "1.xml").write_text(XML[name])
    with pytest.raises(
        DataFault, match=r"1\.xml (is no XML|declares a document type|has more than 100 elements in)"
    ):
        parsed_xml(tmp_path / "1.xml")


JSON = {
    "a hundred thousand levels": "[" * 100_000,
    "a number of 5,000 digits": '{"images": [' + "9" * 5000 + "]}",
    "half a character": '{"images": [{"file_name": "\\ud800"}], "annotations": [], "categories": []}',
    "other things": '{"images": {}, "annotations": 1, "categories": null}',
    "a list as a number": '{"images": [{"id": [], "file_name": "1.png"}], "annotations": [{"image_id": [], "category_id": {}}], "categories": [{"id": [], "name": "a"}]}',
    "an entry that is none": '{"images": [null], "annotations": [], "categories": []}',
    "ten million characters": '{"images": [{"id": 1, "file_name": "' + "x" * 10_000_000 + '"}], "annotations": [], "categories": []}',
    "NaN": '{"images": [{"id": 1, "file_name": "1.png"}], "categories": [{"id": 1, "name": "a"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [NaN, -Infinity, 1e999, Infinity]}]}',
}  # fmt: skip


@pytest.mark.parametrize("name", JSON)
def test_hostile_json_is_refused(name, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    (tmp_path / "boxes.json").write_text(JSON[name])
    with pytest.raises(DataFault) as caught:
        read_boxes(tmp_path / "boxes.json")
    assert len(str(caught.value)) < 3000


def table(header, row):
    return f"{header}\n{row}\n"


TABLES = {
    "a cell of ten million": lambda: table("path,label", "x" * 10_000_000 + ",a"),
    "a column of ten million": lambda: table("path,label," + "x" * 10_000_000, "1.png,a,b"),
    "a name of 300": lambda: table("path,label", "x" * 300 + ",a"),
    "a path of ten thousand": lambda: table("path,label", "x" * 10_000 + ",a"),
    "NUL": lambda: table("path,label", "1\0.png,a"),
    "a million columns": lambda: table("path,label" + ",c" * 1_000_000, "nowhere.png,a"),
}


@pytest.mark.parametrize("name", TABLES)
def test_hostile_tables_are_refused(name, tmp_path):
    (tmp_path / "labels.csv").write_text(TABLES[name]())
    with pytest.raises(DataFault) as caught:
        read_images(str(tmp_path / "labels.csv"), least=1)
    assert len(str(caught.value)) < 3000
    (tmp_path / "boxes.csv").write_text(
        TABLES[name]()
        .replace("path,label", "image,class,left,top,right,bottom", 1)
        .replace(",a", ",a,1,1,2,2", 1)
    )
    with pytest.raises(DataFault) as caught:
        read_boxes(tmp_path / "boxes.csv")
    assert len(str(caught.value)) < 3000


def test_an_image_with_too_many_boxes_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    rows = "1.png,1,1,2,2,a\n" * 10_001
    (tmp_path / "boxes.csv").write_text(f"image,left,top,right,bottom,class\n{rows}")
    with pytest.raises(DataFault, match="more than 10,000 boxes"):
        read_boxes(tmp_path)


# --- out of the folder ---

OUTSIDE = (
    "../secret.png",
    "a/../../secret.png",
    "..\\secret.png",
    "{absolute}",
    "C:\\secret.png",
    "C:secret.png",
    "//host/x.png",
)


def forms(name):
    """Form -> its files, naming one image in every way that the form has."""
    box = "1,1,4,4"
    coco = {
        "images": [{"id": 1, "file_name": name}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [],
    }
    voc = f"<annotation><filename>{name}</filename><object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>"
    return {
        "csv": {"boxes.csv": f"image,left,top,right,bottom,class\n{name},{box},a\n"},
        "coco": {"boxes.json": json.dumps(coco)},
        "voc": {"odd.xml": voc},
        "open images": {"t.csv": f"ImageID,LabelName,XMin,XMax,YMin,YMax\n{name},a,0.1,0.2,0.1,0.2\n"},
        "yolo": {"labels/1.txt": "0 0.5 0.5 0.5 0.5\n", "classes.txt": "a\n", "data.yaml": f"path: {name}\nnames: [a]\n", "attributes.csv": f"image,box\n{name},0\n"},
        "gdxray": {"ground_truth.txt": "1 1 4 1 4\n", "classes.txt": "a\n"},
        "groups": {"boxes.csv": f"image,left,top,right,bottom,class\n1.png,{box},a\n", "groups.csv": f"image,group\n{name},g\n"},
    }  # fmt: skip


@pytest.mark.parametrize("outside", OUTSIDE)
def test_no_annotation_leads_out_of_its_folder(outside, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8), 77).save(secret)
    outside, refused = outside.format(absolute=secret), set()
    for form, files in forms(outside).items():
        root = tmp_path / form
        root.mkdir()
        Image.new("L", (8, 8)).save(root / "1.png")
        for name, contents in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(contents)
        try:
            read_boxes(root, unlabelled="negative")
        except TlkitError:
            refused.add(form)
        try:  # what is left out and named leaves the folder's own image
            boxes = read_boxes(root, faults="clip", unlabelled="negative")
        except TlkitError:
            continue
        assert {boxes.file(i).resolve() for i in range(len(boxes))} == {(root / "1.png").resolve()}, form
    assert refused >= {"csv", "coco"}
    assert not refused & {"gdxray", "groups", "yolo"}  # which name no image that they would open
    (tmp_path / "csv" / "labels.csv").write_text(f"path,label\n{outside},a\n")
    with pytest.raises(DataFault, match="line 2: .* is no path inside the folder"):
        read_images(str(tmp_path / "csv" / "labels.csv"), least=1)


def test_a_manifest_only_names_images_of_the_source(make_folder, tmp_path):
    """Its paths are compared with those of the source, and never opened."""
    photos = make_folder(bar=4, disc=4)
    images = read_images(str(photos))
    seen = [inspect_file(file) for file in images.files()]
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "split.csv").write_text("path,part\nbar/0.png,training\n../secret.png,test\n")
    with pytest.raises(DataFault, match=r"lists \.\./secret\.png, which .* does not have"):
        split_images(images, seen, manifest=tmp_path / "split.csv")
    assert set(read_manifest(tmp_path / "split.csv")) == {"bar/0.png", "../secret.png"}


# --- images and archives ---


def test_images_that_promise_too_much_are_refused_before_memory_is_taken(tmp_path):
    """A hundred thousand by a hundred thousand pixels; those that the served graph sees, in tests/test_serving_fuzz.py."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, contents in enumerate(huge()):
        file = tmp_path / f"{number}.png"
        file.write_bytes(contents)
        assert inspect_file(file).error
        try:
            pixels = decode(tf.constant(contents))
        except tf.errors.InvalidArgumentError:
            continue
        assert pixels.shape == (23, 31, 3)  # a GIF's screen is large, the frame is what it was
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000  # KiB


def test_archives_are_not_unpacked(make_folder, tmp_path, monkeypatch):
    photos = make_folder(bar=3, disc=3)
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write(photos / "bar" / "0.png", "bar/0.png")
        archive.writestr("../escaped.png", b"x")
    with tarfile.open("photos.tar.gz", "w:gz") as archive:
        archive.add(photos, "photos")
        member = tarfile.TarInfo("../escaped.png")
        archive.addfile(member, io.BytesIO())
    for name in ("photos.zip", "photos.tar.gz"):
        with pytest.raises(DataFault, match="is a file, not a folder"):
            read_images(name)
        with pytest.raises(DataFault, match="is no file of boxes"):
            read_boxes(name)
        shutil.copyfile(name, photos / "bar" / name)
    assert len(read_images("photos")) == 6
    assert not (tmp_path / "escaped.png").exists()
    assert not (tmp_path.parent / "escaped.png").exists()


def test_pickles_in_arrays_are_refused(tmp_path):
    from tlkit.engine.training.checkpoints import load_variables

    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it-ran",))

    np.savez(tmp_path / "last.npz", v0=np.array([Payload()], object), state=np.zeros(2, np.uint8))
    with pytest.raises(TlkitError, match="is damaged"):
        load_variables(tmp_path / "last.npz", [keras.Variable([0.0])])
    assert not (tmp_path / "it-ran").exists()
