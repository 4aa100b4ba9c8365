"""The `tlkit` command: a lazy group of verbs, so that help and lists answer without TensorFlow.

A verb's module is imported when the verb is called. Until then only the line that the list shows is known,
from the table below; a test holds the two together.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any

import click

from tlkit.cli.help import LazyGroup
from tlkit.core.console import echo, tell_escaped
from tlkit.errors import TlkitError

# Heading -> verb -> the first line of its own help. The command of a verb is `tlkit.cli.commands.<verb>.<verb>`.
VERBS = {
    "Make": {
        "check": "Find what is wrong with a data set.",
        "run": "Run a recipe: from a source of images to a finished run.",
        "recipes": "List the recipes.",
        "copy": "Hand a recipe over as your own file.",
        "resume": "Go on with a run that was stopped.",
        "repeat": "Run a finished run again and compare the two, bit for bit.",
        "replay": "Repeat the step at which a run met NaN or infinity.",
    },
    "Use and evaluate": {
        "runs": "List the runs, the newest first.",
        "predict": "Name what is on images, or find it, with a finished run.",
        "evaluate": "Measure a finished run on images that it has not learned from.",
        "compare": "Put runs side by side in one table.",
        "export": "Write the model of a run as ONNX or LiteRT.",
        "convert": "Write images and boxes in another format.",
        "cache": "Show the cached features, and trim them.",
    },
}
EXAMPLES = """
    tlkit run fine-tune xray:crops             train on the built-in X-ray images
    tlkit run fine-tune photos/ --dry-run      check your folder of class folders
    tlkit predict fine-tune-photos new/*.png   name what is on new images
    tlkit compare fine-tune-photos             see all its runs in one table
"""


class VerbGroup(LazyGroup):
    """The verbs. Whatever goes wrong below leaves here: one sentence, or JSON, and an exit code."""

    def sections(self) -> dict[str, dict[str, str]]:
        """The table of verbs."""
        return VERBS

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a verb."""
        if name not in self.list_commands(ctx):
            return None
        return getattr(import_module(f"tlkit.cli.commands.{name}"), name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str, click.Command, list[str]]:
        """Find a verb; a recipe's name without `run` gets the right hint."""
        from tlkit.cli.recipe_files import find_recipes

        if args[0] not in self.list_commands(ctx) and args[0] in find_recipes():
            raise click.UsageError(f"{args[0]} is a recipe. Did you mean 'tlkit run {args[0]}'?", ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line and exit: 0 good, 1 run, 2 usage, 3 data, 4 model, 5 export, 130 stopped."""
        arguments = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):  # for what others print; tlkit's own is escaped before
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().main(arguments, prog_name or "tlkit", **{**extra, "standalone_mode": False})
        except TlkitError as fault:
            code = _tell(fault, "--json" in arguments)
        except click.ClickException as error:
            code = _tell_usage(error, "--json" in arguments)
        except (OSError, MemoryError, UnicodeEncodeError) as error:
            code = _tell_known(error, "--json" in arguments)
        except (click.Abort, KeyboardInterrupt):
            from tlkit.cli.execute import show_stopped

            show_stopped(as_json="--json" in arguments)
            code = 130
        finally:
            tell_escaped()
        sys.exit(code if isinstance(code, int) else 0)


def _tell(fault: TlkitError, as_json: bool) -> int:
    from tlkit.cli.execute import show_fault

    show_fault(fault, as_json=as_json)
    return fault.exit_code


def _tell_known(error: Exception, as_json: bool) -> int:
    """Tell that disk, memory or files ended; anything else is a bug, and shows its traceback."""
    from tlkit.core.system_faults import as_fault

    fault = as_fault(error, {})
    if fault is None:
        raise error
    return _tell(fault, as_json)


def _tell_usage(error: click.ClickException, as_json: bool) -> int:
    """Click's own faults: as it tells them, or as JSON."""
    if as_json:
        from tlkit.cli.faults import usage_fault

        return _tell(usage_fault(error), as_json=True)
    page = io.StringIO()
    error.show(page)
    echo(page.getvalue(), err=True, nl=False)
    return error.exit_code


@click.command("tlkit", cls=VerbGroup, examples=EXAMPLES, subcommand_metavar="VERB ...")
@click.version_option(None, "--version", package_name="tlkit", message="tlkit %(version)s")
def main() -> None:
    """From a folder of images to a trained, measured, servable model."""
