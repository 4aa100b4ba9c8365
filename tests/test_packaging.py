"""What is shipped: a source distribution from which the suite runs, a wheel that works without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(p.stem.replace("_", "-") for p in (ROOT / "recipes").glob("[a-z]*.py"))


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def listed():
    """What a commit of this checkout holds: the files that git knows, and new ones that it does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    return sorted(name for name in map(os.fsdecode, names) if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def shipped(listed, tmp_path_factory):
    """A source distribution of those files, and the wheel that is built from it; nothing is fetched."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in listed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-W", "ignore", "-m", "build", "--no-isolation", "--outdir", out, cwd=copy)
    (source,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def wheel(shipped):
    with zipfile.ZipFile(shipped[1]) as archive:
        yield archive


def test_the_source_distribution_holds_the_whole_checkout(shipped, listed):
    with tarfile.open(shipped[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(listed) <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("build/", "dist/"))]


def test_the_wheel_holds_the_package_and_nothing_else(wheel, listed):
    wanted = {name for name in listed if name.startswith("tlkit/") and not name.endswith(".md")}
    wanted |= {f"tlkit/{name}" for name in listed if re.fullmatch(r"recipes/\w+\.py", name)}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert {"tlkit/py.typed", "tlkit/cli/answers.schema.json"} <= found
    assert any(name.endswith(".j2") for name in found)


def test_the_description_leads_nowhere_inside_the_source(wheel):
    """A package index shows it alone: a relative link or image of it is broken there."""
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    targets = re.findall(
        r"\]\(([^)]*)\)|^\[[^]]+\]:\s*(\S+)|(?:src|href)=[\"']?([^\"' >]+)", text, re.MULTILINE
    )
    assert [t for found in targets for t in found if t and not re.match(r"https?://|mailto:|#", t)] == []
    introduction = (ROOT / "README.md").read_text().split("# tlkit\n")[1].split("\n## ")[0].strip()
    assert text.strip().startswith(introduction), "both say the same of what tlkit is"
    versions = {c.rpartition(" ")[2] for c in metadata.get_all("Classifier") if ":: Python :: 3." in c}
    assert versions == {"3.11", "3.12", "3.13"}
    assert metadata["Requires-Python"] in {">=3.11,<3.14", "<3.14,>=3.11"}


def python_of(environment):
    return environment / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name


def check_installed(environment, place):
    """The command works far from the checkout, with its recipes, its schema and its templates."""
    python = python_of(environment)
    tlkit = python.with_name("tlkit")
    assert "Usage: tlkit" in run(tlkit, "--help", cwd=place)
    told = run(tlkit, "recipes", cwd=place)
    assert [name for name in RECIPES if name not in told] == []
    run(tlkit, "copy", "fine-tune", "mine.py", cwd=place)
    assert (place / "mine.py").read_text() == (ROOT / "recipes" / "fine_tune.py").read_text()
    code = (
        "import tlkit, tlkit.recipes, importlib.resources as r; print(tlkit.__file__);"
        "print(*[f.name for p in ('cli', 'engine/reporting', 'tasks/classification/reporting') for f in (r.files('tlkit') / p).iterdir()])"
    )
    where, files = run(python, "-c", code, cwd=place).splitlines()
    assert Path(where).is_relative_to(environment)
    assert {"answers.schema.json", "report.html.j2"} <= set(files.split())


@pytest.mark.parametrize("kind", ["wheel", pytest.param("sdist", marks=pytest.mark.slow)])
def test_what_is_shipped_installs_and_runs(kind, shipped, tmp_path):
    """In an environment of its own, which looks for the packages that tlkit needs in this one; the wheel came of the sdist."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=os.name != "nt")
    python = python_of(environment)
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    others = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))]
    (Path(own) / "needs.pth").write_text("\n".join(dict.fromkeys(others)))
    options = ("--no-index", "--no-deps", "--no-build-isolation", "-q", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--ignore-installed", *options)
    run(*pip, shipped[kind == "wheel"], cwd=tmp_path)
    check_installed(environment, tmp_path)


@pytest.mark.slow
def test_the_wheel_installs_with_all_that_it_needs(shipped, tmp_path):
    """From a package index, as people do; then a model is trained."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True, symlinks=os.name != "nt")
    run(python_of(environment), "-m", "pip", "install", "-q", shipped[1], cwd=tmp_path)
    check_installed(environment, tmp_path)
    run(python_of(environment), "-m", "pip", "check", cwd=tmp_path)
    tlkit = python_of(environment).with_name("tlkit")
    options = (
        "--backbone",
        "mobilenet-0.25",
        "--weights",
        "none",
        "--image-size",
        "32",
        "--epochs",
        "1",
        "0",
        "0",
    )
    run(tlkit, "run", "fine-tune", "xray:crops", *options, cwd=tmp_path)
    assert (tmp_path / "saved_models" / "fine-tune-crops" / "1" / "report.html").exists()
