"""Imports point one way, nothing slow is imported early, and there is no drawer called utils."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["errors", "data", "models", "results", "cli", "recipes"]  # each may import what stands before it
FACES = ["keras_objects"]  # modules of the package itself: each may import any floor, and none is imported
# Inside a folder a module imports only modules above it.
ORDER = {
    "data": "cache csv_writer catalogue gdxray paths text reading class_names findings naming_faults compositing xray_* xray clutter superimposition pixel_limit opening formats headers declared_sizes decoding image_records csv_tables named_files image_tables image_folders sources inspection near_copies leaks declared_parts small_class_choice small_classes splits more ingredients augmentation augment images depth box_records box_outlines box_frames box_parts box_finder box_yaml box_lists box_tables box_coco box_voc box_yolo box_gdxray box_cvat box_labelme box_via box_strangers box_groups box_faults box_catalogue box_formats boxes box_sizes box_writers box_splits box_more backgrounds box_crops file_faults listing set_faults check box_augmentation box_augment box_batches box_projection",
    "models": "settings foreign operations programs saved_models preprocessing published torch_file lite0 classic_layers fitted_layers classic compact weight_files lite0_weights onnx_checks onnx_file onnx_weights onnx_worker onnx_network weights backbones classifier "
    "small_cnn texture spectrum handmade extractor_names feature_cache features engines extractors heads head_layers export_layers explain anatomy walk checkpoints guard replays training phases refitting diffaugment dcgan stylegan_layers stylegan game latents collapse playing "
    "detector_settings pyramids anchors detector_layers assignment detector_losses detector_base window_settings window_scores windows retinanet yolov8 detectors starts detections averaging detector_training replaying",
    "results": "predictions intervals calibration measures lettering canvas charts pictures anatomy_pictures points event_records events run_folder environments sameness board evaluation evidence verdict "
    "report page benefit benefit_charts contest contest_charts projector signatures serving conversion_parts conversion detection_matches detection_curves detection_coco detection_intervals detection detection_benefit framed_boxes detection_pictures label_errors "
    "synthesis_distances synthesis_neighbours synthesis_alarm synthesis synthesis_sheet synthesis_pictures synthesis_curves generator_graph generator_serving detector_serving onnx_nms detector_conversion detector_evaluation detection_files",
}
SLOW = {
    "tensorflow",
    "keras",
    "keras_cv",
    "tensorflow_datasets",
    "matplotlib",
    "sklearn",
    "skimage",
    "scipy",
    "rich",
    "PIL",
    "numpy",
}
# What `tlkit --help` and `tlkit run --help` load.
EARLY = [
    "__init__",
    "errors",
    "cli/__init__",
    "cli/main",
    "cli/run",
    "cli/recipes",
    "cli/recipe_files",
    "cli/help",
]
MODULES = sorted(p for folder in ("tlkit", "recipes") for p in (ROOT / folder).rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return [p for p in (parts if parts[0] == "tlkit" else ("tlkit", *parts)) if p != "__init__"]


def imports(path, *, top_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def rank(folder, module):
    for place, pattern in enumerate(ORDER[folder].split()):
        if module == pattern or (
            pattern.endswith("*") and module.startswith(pattern[:-1]) and module != "xray"
        ):
            return place
    pytest.fail(f"tlkit/{folder}/{module}.py has no place in the order of tests/test_architecture.py")
    return -1


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    own = name_of(path)
    targets = [i.split(".") for i in imports(path) if i.startswith("tlkit.")]
    faces = [".".join(target) for target in targets if target[1] in FACES]
    assert not faces, f"{'.'.join(own)} imports {', '.join(faces)}, which is a face"
    if len(own) < 2 or own[1] in FACES:
        return
    for target in targets:
        if target[1] not in FOLDERS:
            continue  # a name of the package itself
        assert FOLDERS.index(target[1]) <= FOLDERS.index(own[1]), (
            f"{'.'.join(own)} imports {'.'.join(target)}"
        )
        same = target[1] == own[1] and own[1] in ORDER and len(own) > 2 and len(target) > 2
        if same and target[2] != own[2] and (ROOT / "tlkit" / target[1] / f"{target[2]}.py").exists():
            upward = rank(own[1], target[2]) <= rank(own[1], own[2])
            assert upward, f"{'.'.join(own)} imports {'.'.join(target)}, which stands below it"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if "recipes" in p.parts and p.stem != "__init__"], ids=lambda p: p.stem
)
def test_recipes_import_click_and_tlkit_and_never_each_other(path):
    assert {i.split(".")[0] for i in imports(path)} <= {"click", "tlkit"}
    assert not any(i.startswith("tlkit.recipes") for i in imports(path))
    assert len(path.read_text().splitlines()) <= 100


@pytest.mark.parametrize("name", EARLY)
def test_the_help_loads_nothing_slow(name):
    slow = {i.split(".")[0] for i in imports(ROOT / "tlkit" / f"{name}.py", top_only=True)} & SLOW
    assert not slow


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_house_rules(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is"
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    uses_click = any(i.split(".")[0] == "click" for i in imports(path))
    assert not uses_click or name_of(path)[1] in {"cli", "recipes"}
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in calls
    assert (
        not {"csv.writer(", "csv.DictWriter("} & set(re.findall(r"csv\.\w+\(", text))
        or path.name == "csv_writer.py"
    )
    assert "click.echo(" not in text or path.name == "console.py", "console.echo knows what a stream can hold"
    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"


def test_tensorflow_is_not_needed_to_import_the_package():
    import subprocess

    code = "import sys, tlkit, tlkit.data.sources, tlkit.data.splits, tlkit.models.backbones, tlkit.results.run_folder; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_module_of_the_package_itself_is_known():
    modules = {path.stem for path in (ROOT / "tlkit").glob("*.py")} - {"__init__"}
    assert modules == {"errors", *FACES}


def test_every_lazy_name_leads_somewhere():
    import tlkit

    missing = [name for name in tlkit.__all__ if getattr(tlkit, name, None) is None]
    assert missing == []


def test_the_top_level_is_as_agreed():
    agreed = {
        "setup.cfg",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "tlkit",
        "recipes",
        "tests",
        "saved_models",
    }
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {line.split("/")[0] for line in listed.splitlines()}
    assert {t for t in tops if not t.startswith(".")} <= agreed
