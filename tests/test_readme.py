"""What the pages say is so: README's two commands, every `tlkit` line of any page, its Python, its tables, its links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import tlkit
from tlkit.cli.keywords import context_of
from tlkit.cli.main import main
from tlkit.cli.recipe_files import find_recipes, load_recipe

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".github", "recipes", "saved_models", "tests", "tlkit")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])
}  # fmt: skip
README = PAGES["README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = sorted((ROOT / "recipes").glob("[a-z]*.py"))


def commands(text):
    """Every command line of tlkit's that a page shows, in blocks and in its sentences."""
    lines = {
        line.split("  #")[0].strip().removeprefix("$ ")
        for line in text.splitlines()
        if re.match(r"\s*(\$ )?tlkit \w", line)
    }
    return lines | {" ".join(found.split()) for found in re.findall(r"`(tlkit [a-z][^`]*)`", text)}


COMMANDS = sorted({line for name, text in PAGES.items() if name != "CHANGELOG.md" for line in commands(text)})


def chapter(title, text=README):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "runs"), [("Run it", "tlkit run fine-tune xray:crops"), ("Test it", "-m tests")]
)
def test_the_two_headings_hold_one_block_of_one_line(title, runs):
    blocks = re.findall(r"^```\w*\n(.*?)^```$", chapter(title), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) == 1
    assert blocks[0].strip().endswith(runs)
    assert "venv" in blocks[0]
    assert "pip install" in blocks[0]


def test_ci_runs_the_test_command_and_then_the_other_onednn_setting():
    script = (ROOT / ".ci" / "run").read_text()
    assert "## Test it" in script
    assert "README.md" in script
    environment = re.search(r"\S+/bin/python -m tests$", chapter("Test it"), re.MULTILINE)[0]
    assert f'"$command" "{environment} --other-onednn"' in script


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 150


def parse(words, group):
    """Resolve and parse a command line as click would, without running it."""
    context = click.Context(group, info_name="tlkit")
    while isinstance(group, click.Group) and words:
        while words[0].startswith("--"):  # an option of the group itself
            assert words.pop(0) in {
                name for parameter in group.get_params(context) for name in parameter.opts
            }
        name, command, words = group.resolve_command(context, words)
        context, group = click.Context(command, parent=context, info_name=name), command
    known = {
        option
        for parameter in group.get_params(context)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{sorted(used - known)} unknown"
    return group.name


@pytest.mark.parametrize("line", COMMANDS)
def test_every_tlkit_command_of_a_page_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    if "RECIPE" in words:
        words[words.index("RECIPE")] = "fine-tune"
    if words[:2] == ["run", "./mine.py"]:
        words[1] = "fine-tune"  # the copy of it
    assert parse(words, main)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 60


def test_the_python_of_the_pages_runs(finished, monkeypatch, capsys):
    codes = [text for name in PAGES for language, text in BLOCK.findall(PAGES[name]) if language == "python"]
    assert len(codes) >= 4

    def parsed(recipe, *source, **options):  # below it runs
        with context_of(load_recipe(find_recipes()[recipe]), recipe, source, options):
            return tlkit.load(str(finished.run))

    monkeypatch.setattr("tlkit.api.run", parsed)
    for code in codes:
        execute(code, finished)
    out = capsys.readouterr().out
    assert "b'disc'" in out
    assert len(re.findall(r"\.png (?:bar|disc|frame) ", out)) == 2


def execute(code, finished):
    """Run Python of the README with the files and the run that are here."""
    image = next((finished.source / "bar").glob("*.png"))
    for told, here in (
        ("saved_models/fine-tune-crops/1", finished.run),
        ("x.png", image),
        ("y.png", image),
        ("photos/", finished.source),
        ("more-photos/", finished.source),
        ("screening", finished.run),
    ):
        code = code.replace(f'"{told}', f'"{here}')
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - that is the point


@pytest.mark.slow
def test_the_ten_lines_run_from_the_first(finished, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = (
        text for language, text in BLOCK.findall(README) if language == "python" and "tlkit.run(" in text
    )
    small = 'name="ten", epochs=(1, 0, 0), image_size=64'
    execute(code.replace('name="screening", epochs=(30, 0, 0)', small), finished)
    assert (tmp_path / "saved_models" / "ten" / "1" / "card.json").is_file()
    assert len(re.findall(r"\.png (?:bar|disc|frame) ", capsys.readouterr().out)) == 2


def test_every_recipe_has_a_row_in_the_tables_and_a_page_beside_it():
    for path in RECIPES:
        name = path.stem.replace("_", "-")
        page = PAGES[f"recipes/{path.stem}.md"]
        assert f"| [`{name}`](recipes/{path.stem}.md) |" in README
        assert f"| [`{name}`]({path.stem}.md) |" in PAGES["recipes/README.md"]
        assert page.startswith(f"# {name}: ")
        assert any(line.startswith(f"tlkit run {name} ") for line in commands(page))
    pages = {name for name in PAGES if name.startswith("recipes/")} - {"recipes/README.md"}
    assert pages == {f"recipes/{path.stem}.md" for path in RECIPES}
    assert not [name for name, text in PAGES.items() if re.findall(r"@[A-Z]+@|TODO|TBD", text)]


def anchors(text):
    """What a link may end in after #: the headings of a page as GitHub writes them."""
    outside = BLOCK.sub("", text)
    titles = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for link in links(PAGES[name]):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(PAGES[target.resolve().relative_to(ROOT).as_posix()]), link


def test_every_page_is_led_to_from_the_readme():
    seen, ahead = set(), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in PAGES:
            continue
        seen.add(name)
        for link in links(PAGES[name]):
            path = link.partition("#")[0]
            if path and not re.match(r"https?://", path):
                ahead.append(((ROOT / name).parent / path).resolve().relative_to(ROOT).as_posix())
    assert seen == set(PAGES)


def test_every_image_is_shown_somewhere():
    shown = {Path(link).name for text in PAGES.values() for link in links(text)}
    assert {path.name for path in (ROOT / ".github" / "pictures").iterdir()} <= shown


@pytest.mark.parametrize("name", [name for name in PAGES if name != "CHANGELOG.md"])
def test_files_and_modules_that_a_page_names_are_there(name):
    text = PAGES[name]
    for path in re.findall(r"`((?:tests|tlkit|recipes)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m (tests(?:\.\w+)+)", text):
        file = ROOT / module.replace(".", "/")
        assert file.with_suffix(".py").is_file() or (file / "__main__.py").is_file(), module


def test_decisions_are_one_a_file_dated_and_listed_with_their_status():
    index = PAGES[".github/decisions/README.md"]
    rows = dict(re.findall(r"^\| (\d+) \| .*\((\d{4}-[\w-]+\.md)\).*\|$", index, re.MULTILINE))
    files = sorted(path.name for path in (ROOT / ".github" / "decisions").glob("[0-9]*.md"))
    assert sorted(rows.values()) == files
    for number, file in rows.items():
        assert int(file[:4]) == int(number)
        title, status = PAGES[f".github/decisions/{file}"].splitlines()[0:3:2]
        assert title.startswith("# ")
        told = re.fullmatch(r"(\d{4}-\d\d-\d\d) · (in force|replaced by \[(\d+)\]\(.+\))", status)
        row = next(line for line in index.splitlines() if f"({file})" in line)
        assert row.split("| ")[3:] == [f"{told[1]} ", f"{re.sub(r'[][]|[(].*[)]', '', told[2])} |"]


def test_the_kinds_of_faults_are_counted_from_their_table():
    from tlkit.data.images.findings import KINDS

    told = [number for text in PAGES.values() for number in re.findall(r"(\d+) kinds", text)]
    assert told == [str(len(KINDS))]


def test_exit_codes_are_those_of_the_errors():
    from tlkit import errors

    codes = {
        fault.exit_code
        for fault in (
            errors.RunFailed,
            errors.UsageFault,
            errors.DataFault,
            errors.ModelFault,
            errors.ExportFault,
        )
    }
    assert codes == {1, 2, 3, 4, 5}
    page = PAGES["saved_models/README.md"]
    assert "Exit codes: 0 good, 1 the run failed, 2 usage, 3 data, 4 model or weights, 5 export" in page
