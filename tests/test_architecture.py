"""Imports point one way, nothing slow is imported early, and there is no drawer called utils."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each layer imports only from those above it; folders of one line do not know each other.
LAYERS = [
    ["errors"],
    ["core"],
    ["data/xray"],
    ["data/images"],
    ["data/boxes"],
    ["data/checks"],
    ["backbones"],
    ["engine"],
    ["tasks/features", "tasks/inspection"],
    ["tasks/classification"],
    ["tasks/detection", "tasks/synthesis", "tasks/verification"],
    ["tasks/compositing"],
    ["tasks/studies"],
    ["cli"],
    ["recipes"],
]
# Modules of the package itself: as `tlkit/__init__.py`, each may import any layer; no layer imports them.
FACES = ["api", "compat", "keras_objects"]
MOST_MODULES = 20  # of a folder
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
    "cli/commands/__init__",
    "cli/commands/run",
    "cli/commands/recipes",
    "cli/recipe_files",
    "cli/help",
]
MODULES = sorted(p for folder in ("tlkit", "recipes") for p in (ROOT / folder).rglob("*.py"))


def name_of(path, root=ROOT):
    parts = path.relative_to(root).with_suffix("").parts
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    return found


def layer_of(name):
    """(place in LAYERS, folder) of a module, or None for what is in no layer: packages above them, and the faces."""
    path = "/".join(name.split(".")[1:])
    for place, folders in enumerate(LAYERS):
        for folder in folders:
            if path == folder or path.startswith(f"{folder}/"):
                return place, folder
    return None


def import_graph(root):
    """Module -> the modules of ours that it imports, wherever in it, `import_module("...")` included."""
    paths = [p for folder in ("tlkit", "recipes") for p in sorted((root / folder).rglob("*.py"))]
    names = {".".join(name_of(p, root)): p for p in paths}

    def module(name):
        """The module that a dotted name is or lies in."""
        while name not in names:
            name = name.rpartition(".")[0]
        return name

    return {name: {module(i) for i in imports(p) if i.split(".")[0] == "tlkit"} for name, p in names.items()}


def upward(graph):
    """A sentence for each import that points to a later layer, to a neighbour, or to a face."""
    for name, targets in graph.items():
        own = layer_of(name)
        for target in sorted(targets):
            other = layer_of(target)
            if target in {f"tlkit.{face}" for face in FACES} and name != "tlkit":
                yield f"{name} imports {target}, which is a face"
            elif own and other and (other[0] > own[0] or (other[0] == own[0] and other[1] != own[1])):
                yield f"{name} imports {target}"


def circle(graph):
    """Modules of the layers each of which imports the one before it, the first the last; none where there is none."""
    inside = {
        name: {t for t in targets if layer_of(t) and t != name}
        for name, targets in graph.items()
        if layer_of(name)
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def graph():
    return import_graph(ROOT)


def test_every_module_has_its_layer(graph):
    packages = {name for name in graph if name_is_package(name)}
    assert {name for name in graph if not layer_of(name)} - packages == {f"tlkit.{face}" for face in FACES}
    for name in packages - {"tlkit"}:  # a package imports nothing, so no import hides in one
        assert graph[name] == set(), name


def name_is_package(name):
    parts = name.split(".")
    return (ROOT.joinpath(*(parts[1:] if parts[1:2] == ["recipes"] else parts)) / "__init__.py").exists()


def test_imports_point_one_way(graph):
    assert list(upward(graph)) == []


def test_no_imports_go_in_a_circle(graph):
    assert circle(graph) == []


def test_the_rule_is_seen_to_fail(tmp_path, graph):
    """In a copy each layer imports from the next one, neighbours from each other, and a chain is closed."""
    for folder in ("tlkit", "recipes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    first = {}
    for name in graph:
        if layer_of(name) and not name_is_package(name):
            first.setdefault(layer_of(name)[1], name)
    there = [[folder for folder in folders if folder in first] for folders in LAYERS]
    pairs = {(one, two) for low, high in pairwise(there) for one in low for two in high}
    pairs |= {(one, two) for folders in there for one in folders for two in folders if one != two}
    planted = {(first[one], first[two]) for one, two in pairs}
    for one, two in planted:
        plant(tmp_path, one, f"def _late():\n    import {two}\n")
    plant(tmp_path, first["core"], "import tlkit.compat\n")
    broken = import_graph(tmp_path)
    expected = {f"{one} imports {two}" for one, two in planted}
    assert set(upward(broken)) == expected | {f"{first['core']} imports tlkit.compat, which is a face"}
    assert len(circle(broken)) > 2


def plant(root, name, text):
    parts = name.split(".")
    path = root.joinpath(*(parts[1:] if parts[1] == "recipes" else parts)).with_suffix(".py")
    path.write_text(f"{path.read_text()}\n\n{text}")


def folders_of(root):
    """Folders with modules, relative to `root`, and how many modules each has."""
    folders = {path.parent for path in root.rglob("*.py")}
    return {
        folder.relative_to(root).as_posix(): len([p for p in folder.glob("*.py") if p.stem != "__init__"])
        for folder in folders
    }


def test_no_folder_is_a_corridor_of_doors():
    assert {folder: n for folder, n in folders_of(ROOT / "tlkit").items() if n > MOST_MODULES} == {}


def test_a_folder_of_tests_has_the_name_of_the_folder_of_code_that_it_tests():
    code = {
        *folders_of(ROOT / "tlkit"),
        "cli/recipes",
    }  # recipes as a person runs them, from the command line
    of_the_whole = {".", "before_and_after", "benchmarks", "old_runs", "properties"}
    assert set(folders_of(ROOT / "tests")) - of_the_whole <= code


def test_the_page_about_the_code_has_every_folder():
    text = (ROOT / "tlkit" / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE))
    assert told == set(folders_of(ROOT / "tlkit")) - {"."}


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

    code = "import sys, tlkit, tlkit.data.images.sources, tlkit.data.images.splits, tlkit.backbones.table, tlkit.core.run_folder; print('tensorflow' in sys.modules)"
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
