"""Recipes are files: finding them, reading what they say of themselves, and loading one.

There is no registry: the shipped ones are found by name, and so are `./recipes/*.py` under names of their own. A file
there of other content under a shipped name takes nobody's place: a person says which of the two is meant. A list reads
the files with `ast` and runs none of them; only the recipe that is asked for is loaded, and that imports no TensorFlow
either.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tlkit.errors import UsageFault

if TYPE_CHECKING:
    from tlkit.cli.recipe import RecipeCommand


@dataclass(frozen=True)
class RecipeFile:
    """A recipe before it is loaded.

    Attributes:
        name: The command: the file's stem with dashes.
        path: The file.
        summary: The first line of its docstring.
        yours: Whether it is the person's own and not the one that tlkit ships.
        rival: Of a shipped one: the file of other content that lies in ./recipes under its name.
    """

    name: str
    path: Path
    summary: str
    yours: bool
    rival: RecipeFile | None = None

    @property
    def typed(self) -> str:
        """The path as `tlkit run` takes it, such as ./recipes/mine.py."""
        return typed_path(self.path)


def typed_path(path: Path) -> str:
    """A recipe's file as a person types it after `tlkit run`."""
    text = path.as_posix()
    return shlex.quote(text if path.is_absolute() or text.startswith("..") else f"./{text}")


def find_recipes(folder: Path = Path("recipes")) -> dict[str, RecipeFile]:
    """Every recipe by name, in alphabetical order.

    A file in `folder` under a shipped name hides nothing: an equal copy is left out, another is the shipped one's rival.
    """
    shipped_folder = _shipped_folder()
    found = {recipe.name: recipe for path in _files(shipped_folder) if (recipe := _read(path, yours=False))}
    shipped = set(found)
    if folder.is_dir() and not folder.samefile(shipped_folder):
        for path in _files(folder):
            recipe = _read(path, yours=True)
            if recipe and recipe.name not in shipped:
                found[recipe.name] = recipe
            elif recipe and path.read_bytes() != found[recipe.name].path.read_bytes():
                found[recipe.name] = replace(found[recipe.name], rival=recipe)
    return dict(sorted(found.items()))


def choose_recipe(name: str, *, yours: bool = False, shipped: bool = False) -> RecipeFile | None:
    """The recipe of a name, None where there is none.

    Args:
        name: As listed.
        yours: Take the file of ./recipes.
        shipped: Take tlkit's.

    Raises:
        UsageFault: There are two, and neither was asked for; or there is none of that kind.
    """
    if yours and shipped:
        raise UsageFault("Use just one of --yours and --shipped.")
    found = find_recipes()
    recipe = found.get(name)
    if recipe is None:
        return None
    own = recipe if recipe.yours else recipe.rival or _equal_copy(recipe)
    if yours and own is None:
        raise UsageFault(f"--yours: ./recipes has no {name}.", f"tlkit run {name} runs tlkit's.")
    if shipped and recipe.yours:
        raise UsageFault(f"--shipped: tlkit ships no {name}.", f"tlkit run {name} runs yours.")
    if recipe.rival and not (yours or shipped):
        raise UsageFault(
            f"There are two recipes {name}: {recipe.rival.typed} is not the one that tlkit ships.",
            f"tlkit run --yours {name} or tlkit run {recipe.rival.typed} runs that file, tlkit run --shipped {name} "
            "runs tlkit's.",
        )
    return own if yours else recipe


def _equal_copy(recipe: RecipeFile) -> RecipeFile | None:
    """The file of ./recipes that is equal to a shipped one."""
    copy = Path("recipes") / recipe.path.name
    return replace(recipe, path=copy) if copy.is_file() else None


def list_lines() -> Iterator[tuple[str, str]]:
    """What is typed after `tlkit run`, and the line that a list shows, of every recipe."""
    for recipe in find_recipes().values():
        yield recipe.name, f"{recipe.summary}{' (yours)' if recipe.yours else ''}"
        if recipe.rival:
            yield (
                recipe.rival.typed,
                f"{recipe.rival.summary} (yours: tlkit run --yours {recipe.name}; {recipe.name} alone is refused)",
            )


def read_recipe(path: Path) -> RecipeFile:
    """The recipe in a file that a person names.

    Raises:
        UsageFault: There is no such file, or no recipe in it.
    """
    if not path.is_file():
        raise UsageFault(f"There is no file {path}.", "tlkit recipes lists what can be run by name.")
    recipe = _read(path, yours=True)
    if not recipe:
        raise UsageFault(f"{path} has no recipe.", "A recipe is one function decorated with @tlkit.recipe().")
    return recipe


def load_recipe(file: RecipeFile) -> RecipeCommand:
    """Run a recipe's file and take its command.

    Raises:
        UsageFault: It cannot be run, or has no command or several.
    """
    from tlkit.cli.recipe import RecipeCommand

    try:
        module = _import_file(file.path)
    except (SyntaxError, ImportError) as error:
        raise UsageFault(f"{file.path} cannot be loaded: {error}.", "Mend it and try again.") from error
    commands = [value for value in vars(module).values() if isinstance(value, RecipeCommand)]
    if len(commands) != 1:
        raise UsageFault(f"{file.path} has {len(commands)} recipes.", "A file holds one.")
    command = commands[0]
    command.name = file.name
    command.help = command.help or module.__doc__
    return command


def _import_file(path: Path) -> ModuleType:
    """Import a file; a shipped one as the module that it is in the package."""
    if path.parent.resolve() == _shipped_folder():
        return importlib.import_module(f"tlkit.recipes.{path.stem}")
    specification = importlib.util.spec_from_file_location(f"tlkit_recipe_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise ImportError("its name does not end in .py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def _shipped_folder() -> Path:
    """Where the shipped recipes are, in a wheel and in a clone alike."""
    specification = importlib.util.find_spec("tlkit.recipes")
    if specification is None or not specification.submodule_search_locations:
        raise ImportError("tlkit is installed without its recipes")
    return Path(specification.submodule_search_locations[0]).resolve()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def _read(path: Path, *, yours: bool) -> RecipeFile | None:
    """What a file says of itself, nothing executed; None if it has no recipe."""
    name = path.stem.replace("_", "-")
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        return RecipeFile(name, path, f"Cannot be read: line {error.lineno}, {error.msg}.", yours)
    if not any(
        _is_recipe(decorator) for node in tree.body for decorator in getattr(node, "decorator_list", [])
    ):
        return None
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return RecipeFile(name, path, summary, yours)


def _is_recipe(decorator: ast.expr) -> bool:
    """Whether a decorator is `@recipe(...)` or `@tlkit.recipe(...)`."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", None) == "recipe" or getattr(called, "id", None) == "recipe"
