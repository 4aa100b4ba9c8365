"""SavedModels of others and damaged ones: computed with, or refused in one sentence before anything of them is run."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from tests.core.safe_loading.saved_model_attacks import (
    HOW,
    PLACES,
    ask,
    every_planted,
    is_refused,
    misplaced,
    planted,
    registered,
)
from tests.exports import EVERY, FEW, found
from tests.tasks.classification.serving.test_saved_model import small_classifier
from tlkit.cli.main import main
from tlkit.core.safe_loading import saved_models
from tlkit.core.safe_loading.operations import ALLOWED, CALLING, SAVING
from tlkit.core.safe_loading.programs import check_program
from tlkit.core.safe_loading.saved_models import check_saved_model, load_saved_model, read_graph
from tlkit.errors import ModelFault
from tlkit.tasks.classification.serving.saved_model import Served, export_saved_model
from tlkit.tasks.detection.serving.saved_model import ServedDetector
from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator

FOLDER = Path("attack")
CARD = {"schema_version": 1, "name": "odd", "number": 1, "recipe": "fine-tune", "classes": ["bar", "disc", "étoile"]}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The folder of a finished run, as far as its SavedModel is concerned."""
    folder = tmp_path_factory.mktemp("runs") / "odd" / "1"
    export_saved_model(small_classifier(), folder)
    (folder / "card.json").write_text(json.dumps(CARD))
    return folder


@pytest.fixture(scope="module")
def message(sound):
    return read_graph(sound)


@pytest.fixture
def run(sound, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "runs" / "odd" / "1"))


def changed(run, change):
    """Let what lies there be what an attacker would put: without a fingerprint."""
    model = read_graph(run)
    change(model.meta_graphs[0])
    (run / "saved_model.pb").write_bytes(model.SerializeToString())
    (run / "fingerprint.pb").unlink(missing_ok=True)
    return run


# --- operations ---

# What was let pass while a list said what is forbidden, and what each of them did.
MISSED = {
    "MergeV2Checkpoints": "deleted a folder",
    "SaveV2": "wrote files",
    "DatasetToTFRecord": "wrote a file of any content",
    "RestoreV2": "read",
    "CSVDataset": "read",
    "FixedUnigramCandidateSampler": "read",
    "GenerateVocabRemapping": "read",
    "RecordInput": "read",
    "DecodeProtoV2": "read",
    "Print": "wrote to the terminal",
    "Abort": "killed the process",
    "RegisterDataset": "opened a service",
    "ImmutableConst": "read",
    "PyFuncStateless": "ran Python",
    "WriteFile": "wrote",
}


@pytest.mark.parametrize("place", PLACES)
def test_an_operation_that_does_more_than_compute_is_refused_by_name(place, message):
    model, node = planted(message, place)
    check_program(model, FOLDER)
    assert set(MISSED) <= set(registered())
    for name in MISSED:
        node.op = name
        with pytest.raises(ModelFault, match=rf"the operation {name}\b") as caught:
            check_program(model, FOLDER)
        assert "\n" not in caught.value.problem


def test_what_is_no_operation_yet_is_refused_and_shown_without_its_escapes(message):
    model, node = planted(message, "signature")
    node.op = "\x1b[2J" + "Tomorrow" * 1000
    with pytest.raises(ModelFault) as caught:
        check_program(model, FOLDER)
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.problem) < 300


def test_what_saves_is_let_pass_where_only_the_saver_leads_to_it(message):
    check_program(message, FOLDER)
    ways = dict(misplaced(message))
    assert len(ways) == 4 * (3 + 17)
    assert [way for way, model in ways.items() if not is_refused(model)] == []


def test_the_list_is_of_operations_that_do_not_reach_out():
    """The registry says which have state and which call functions; each that is allowed all the same is named here."""
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session as session

    registry = {op.name: op for op in OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList())).op}
    assert registry.keys() >= ALLOWED | SAVING
    calling = {n for n in ALLOWED if any("func" in attribute.type for attribute in registry[n].attr)}
    assert calling == CALLING
    assert {name for name in ALLOWED - CALLING if registry[name].is_stateful} == {
        "Assert", "AssignVariableOp", "DisableCopyOnRead", "ReadVariableOp", "ResourceGather", "ResourceGatherNd",
        "StatelessRandomGetAlg", "VarHandleOp", "VarIsInitializedOp", "VariableShape",
    }  # fmt: skip
    reaching = (
        "File",
        "Dataset",
        "Py",
        "Print",
        "Summary",
        "Reader",
        "Send",
        "Recv",
        "Rpc",
        "Queue",
        "Table",
        "Barrier",
    )
    assert [name for name in ALLOWED if any(word in name for word in reaching)] == []
    assert not ALLOWED & SAVING


def test_models_of_recipes_consist_of_what_is_allowed():
    """Of the quickest kinds; the slow test below has all of them, old_runs those of before."""
    for name, operations in found({name: FEW[name] for name in ("small-cnn", "synthesize-dcgan")}):
        assert operations - ALLOWED - SAVING == set(), name


@pytest.mark.slow
def test_models_of_every_recipe_consist_of_what_is_allowed():
    for name, operations in found(EVERY):
        assert operations - ALLOWED - SAVING == set(), name


@pytest.mark.slow
def test_every_operation_of_tensorflow_is_refused_unless_it_is_allowed(message):
    every = registered()
    tried = list(every_planted(message))
    assert len(tried) == 3 * len(every) > 3 * 1800
    let_pass = {(name, place) for name, place, refused in tried if not refused}
    assert let_pass == {(name, place) for name in ALLOWED for place in PLACES}


def test_a_large_graph_is_checked_in_no_time(message):
    large = type(message).FromString(message.SerializeToString())
    library = large.meta_graphs[0].graph_def.library
    source = max(library.function, key=lambda function: len(function.node_def))
    while large.ByteSize() < 5_000_000:
        library.function.add().CopyFrom(source)
        library.function[-1].signature.name = f"copy_{len(library.function)}"
    began = time.process_time()
    check_program(large, FOLDER)
    assert time.process_time() - began < 1.5  # 0.1 seen


# --- objects, constants, assets, links ---


def of_kind(kind):
    def change(meta):
        getattr(meta.object_graph_def.nodes.add(), kind).SetInParent()

    return change


def restoring_itself(meta):
    meta.object_graph_def.nodes[0].saveable_objects["x"].save_function = 0


def registered_elsewhere(meta):
    meta.object_graph_def.nodes[0].registered_name = "Custom.Thing"


def calling_elsewhere(meta):
    function = meta.graph_def.library.function[0]
    function.node_def.add(name="call", op="PartitionedCall").attr["f"].func.name = "elsewhere"


def of_another_class(meta):
    meta.object_graph_def.nodes[0].user_object.identifier = "optimizer"


def with_an_array(meta):
    next(iter(meta.object_graph_def.concrete_functions.values())).output_signature.tensor_value.dtype = 1


def with_an_array_inside(meta):
    one = next(one for one in meta.object_graph_def.nodes if one.WhichOneof("kind") == "function")
    value = one.function.function_spec.fullargspec.tuple_value.values.add()
    value.dict_value.fields["x"].bounded_tensor_spec_value.minimum.dtype = 1


def many_objects(meta):
    child = meta.object_graph_def.nodes[0].children.add()
    child.local_name = "99999999999"


def constant(*sides, dtype=1):
    def change(meta):
        tensor = meta.graph_def.node.add(name="large", op="Const").attr["value"].tensor
        tensor.dtype = dtype
        tensor.float_val.append(0)
        for side in sides:
            tensor.tensor_shape.dim.add(size=side)

    return change


def asset(name):
    def change(meta):
        meta.asset_file_def.add(filename=name)

    return change


def of_tensorflow_1(meta):
    meta.ClearField("object_graph_def")


OBJECTS = {
    "a call of the function elsewhere": calling_elsewhere,
    "an object of kind resource": of_kind("resource"),
    "an object of kind Custom.Thing": registered_elsewhere,
    "an object of kind optimizer": of_another_class,
    "an object that restores itself": restoring_itself,
    "a function whose arguments are described by arrays": with_an_array,
    "a function whose arguments are": with_an_array_inside,
    "a list of too many objects": many_objects,
    "the constant large of shape": constant(2**20, 2**22),
    "the constant large of shape .-5": constant(-5),
    "the constant large without a value": constant(dtype=20),
    "the asset ../secret": asset("../secret"),
    "the asset a/../../secret": asset("a/../../secret"),
    "the asset /etc/passwd": asset("/etc/passwd"),
    "the asset '..": asset("..\\secret"),
    "the asset C:secret": asset("C:secret"),
    "that TensorFlow 2 did not save": of_tensorflow_1,
}


@pytest.mark.parametrize("what", OBJECTS)
def test_what_no_model_of_ours_has_is_refused(what, message):
    model = type(message).FromString(message.SerializeToString())
    OBJECTS[what](model.meta_graphs[0])
    with pytest.raises(ModelFault, match=f"SavedModel (with )?{what}"):
        check_program(model, FOLDER)


def test_an_asset_in_its_folder_is_let_pass(message):
    model = type(message).FromString(message.SerializeToString())
    asset("words/more.txt")(model.meta_graphs[0])
    check_program(model, FOLDER)


@pytest.mark.parametrize("name", ["variables", "variables/variables.index", "assets", "assets/words.txt"])
def test_variables_and_assets_do_not_lead_out_of_the_folder(name, run, tmp_path):
    link = run / name
    if link.exists():
        link.rename(tmp_path / "elsewhere")
    else:
        link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFault, match=rf"{name} is a link that leads out of"):
        load_saved_model(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
@pytest.mark.parametrize("name", ["fingerprint.pb", "debug/saved_model_debug_info.pb", "assets/words.txt"])
def test_a_pipe_is_not_waited_for(name, run):
    (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(ModelFault, match=f"{name} is neither a file nor a folder"):
        load_saved_model(run)


def test_a_linked_run_and_links_inside_of_it_are_read(run, tmp_path):
    (run / "variables").rename(run / "kept")
    (run / "variables").symlink_to("kept")
    (tmp_path / "link").symlink_to(run)
    check_saved_model(tmp_path / "link")


# --- damage ---


def cut(file, share=0.5):
    return lambda run: (run / file).write_bytes((run / file).read_bytes()[: int(len((run / file).read_bytes()) * share)])  # fmt: skip


def flipped(file, share=0.5):
    def change(run):
        contents = bytearray((run / file).read_bytes())
        contents[int(len(contents) * share)] ^= 1
        (run / file).write_bytes(contents)

    return change


def a_constant_flipped(run):
    """What parses, loads and would answer otherwise: a bit of one of the network's numbers."""
    file = run / "saved_model.pb"
    contents = file.read_bytes()
    assert contents.count(np.float32(1 / 127.5).tobytes())
    file.write_bytes(contents.replace(np.float32(1 / 127.5).tobytes(), np.float32(1 / 126.5).tobytes()))


def of_another(run):
    """The variables of another model, sound as such."""
    shutil.rmtree(run / "variables")
    module = tf.Module()
    module.number = tf.Variable(1.0)
    tf.saved_model.save(module, str(run / "other"))
    shutil.move(run / "other" / "variables", run / "variables")
    (run / "fingerprint.pb").unlink()


PB, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
DAMAGES = {
    "the graph cut": (cut(PB), "saved_model.pb cannot be read"),
    "the graph emptied": (cut(PB, 0), "saved_model.pb is empty"),
    "no graph but noise": (lambda run: (run / PB).write_bytes(b"\xff" * 999), "saved_model.pb cannot be read"),
    "a constant flipped": (a_constant_flipped, "saved_model.pb is not the one of which fingerprint.pb speaks"),
    "the index cut": (cut(INDEX), "fingerprint.pb"),
    "the index emptied": (cut(INDEX, 0), "variables/variables.index is empty"),
    "the index flipped": (flipped(INDEX), "variables/variables.index is not the one"),
    "no index": (lambda run: (run / INDEX).unlink(), "variables/variables.index is missing"),
    "the data cut": (cut(DATA), r"its variables have \d,\d+ bytes by variables/variables.index, and \d,\d+ lie there"),
    "the data emptied": (cut(DATA, 0), "and 0 lie there"),
    "the data flipped": (flipped(DATA, 0.3), "TensorFlow cannot load it .*hecksum does not match"),
    "no data": (lambda run: (run / DATA).unlink(), "and 0 lie there"),
    "no variables": (lambda run: shutil.rmtree(run / "variables"), "variables/variables.index is missing"),
    "variables of another": (of_another, "TensorFlow cannot load it"),
    "no fingerprint but noise": (lambda run: (run / "fingerprint.pb").write_bytes(b"\xff" * 99), "fingerprint.pb cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_said_in_one_sentence(name, run, make_folder):
    change, words = DAMAGES[name]
    change(run)
    photos = make_folder(bar=1)
    said = CliRunner().invoke(main, ["predict", str(run), str(photos), "--json"])
    assert said.exit_code == 4, said.output
    error = json.loads(said.stdout)["error"]
    assert error["problem"].startswith(f"The SavedModel in {run} is damaged: ")
    assert "\n" not in error["problem"]
    assert error["remedy"] == saved_models.REMEDY
    with pytest.raises(ModelFault, match=words):
        Served.load(run)


@pytest.mark.parametrize("words", [("evaluate", "RUN", "PHOTOS"), ("run", "generate", "RUN")])
def test_every_verb_that_asks_says_so(words, run, make_folder, monkeypatch):
    flipped(DATA, 0.3)(run)
    if "generate" in words:
        card = {**CARD, "kind": "generator", "recipe": "synthesize-dcgan"}
        (run / "card.json").write_text(json.dumps(card))
    photos = str(make_folder(bar=1, disc=1))
    monkeypatch.chdir(photos)
    said = CliRunner().invoke(main, [{"RUN": str(run), "PHOTOS": photos}.get(word, word) for word in words])
    assert said.exit_code == 4, said.output
    assert f"The SavedModel in {run} is damaged" in said.stderr
    for kind in (Served, ServedDetector, ServedGenerator):
        with pytest.raises(ModelFault, match="is damaged"):
            kind.load(run)


def test_too_large_a_graph_is_not_read(run, monkeypatch):
    monkeypatch.setattr(saved_models, "LARGEST", 1000)
    with pytest.raises(ModelFault, match=r"has [\d,]+ bytes; 1,000 are the most"):
        check_saved_model(run)


def test_a_run_without_a_fingerprint_is_read_as_tensorflow_reads_it(run):
    """As old exporters, and people who copy what TensorFlow Serving needs, leave it."""
    (run / "fingerprint.pb").unlink()
    assert Served.load(run).classes == ("bar", "disc", "étoile")


def test_a_fingerprint_of_another_tensorflow_is_not_held_against_a_model(run):
    """It may be made in another way; what is refused for itself stays refused."""
    model = read_graph(run)
    model.meta_graphs[0].meta_info_def.tensorflow_version = "2.16.1"
    (run / "saved_model.pb").write_bytes(model.SerializeToString())
    check_saved_model(run)
    model.meta_graphs[0].graph_def.node.add(name="more", op="WriteFile")
    (run / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFault, match="the operation WriteFile"):
        check_saved_model(run)


def lying(meta):
    """A constant with fewer numbers than its shape says."""
    for function in meta.graph_def.library.function:
        for node in function.node_def:
            if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > 8:
                node.attr["value"].tensor.tensor_shape.dim[0].size += 1
                return
    raise AssertionError("no such constant")


def test_a_constant_that_lies_is_told(run):
    with pytest.raises(ModelFault, match="is damaged: TensorFlow cannot load it"):
        Served.load(changed(run, lying))


# --- models that load and cannot answer ---


class Odd(tf.Module):
    """A signature as a classifier has it, and an answer that is none."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(self, image_bytes):
        row = tf.fill([tf.size(image_bytes), 2], 0.5)
        names = tf.constant([b"a", b"\xff" if self.kind == "a name that is no text" else b"b"])
        if self.kind == "one row too many":
            row = tf.concat([row, row[:1]], 0)
        if self.kind == "too many columns":
            row = tf.concat([row[:, :0], tf.fill([tf.size(image_bytes), 5], 0.2)], 1)
            row = row + tf.cast(tf.range(5), tf.float32)
        if self.kind == "text":
            row = tf.as_string(row)
        if self.kind == "it refuses everything":
            with tf.control_dependencies([tf.debugging.assert_less(tf.size(image_bytes), 0)]):
                row = tf.identity(row)
        return {"probability": row, "label": names, "classes": names}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("one row too many", "is damaged: it gives no answer"),
        ("too many columns", "is damaged: it gives no answer"),
        ("text", "is damaged: it gives no answer"),
        ("it refuses everything", "is damaged: it refuses every image"),
        ("a name that is no text", "holds no SavedModel of a classifier that can be read"),
    ],
)
def test_an_answer_that_is_none_is_the_fault_of_the_model(kind, words, tmp_path, make_folder):
    odd = Odd(kind)
    tf.saved_model.save(odd, str(tmp_path / "1"), signatures={"serving_default": odd.answer})
    (tmp_path / "1" / "card.json").write_text(json.dumps({**CARD, "classes": ["a", "b"]}))
    if kind == "a name that is no text":
        (tmp_path / "1" / "card.json").unlink()
    photos = make_folder(bar=2)
    with pytest.raises(ModelFault, match=words):
        Served.load(tmp_path / "1").predict_files(sorted((photos / "bar").iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW)
def test_damaged_ones_answer_alike_or_are_refused(how, sound):
    """A few hundred of each; without a fingerprint a graph may also answer otherwise, for it is another program."""
    outcomes = ask(sound, 300, 0, how)
    assert sum(outcomes.values()) == 300
    assert set(outcomes) <= {"same", "refused", *(("other",) if how != "bytes" else ())}, outcomes
    assert outcomes["refused"] > 150
