"""Help pages and groups: options in named sections, examples as typed, commands imported when called."""

from __future__ import annotations

import inspect
import math
from typing import Any

import click

from tlkit.cli.hints import check_several, describe_missing
from tlkit.cli.options.earlier import present_names
from tlkit.core.console import Console, echo, held

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


def _hush(_ctx: click.Context, _parameter: click.Parameter, quiet: bool) -> None:
    Console.quiet = quiet


class Page(click.Command):
    """A command whose page ends with examples, and which says what a mistyped option may have meant.

    Args:
        examples: Command lines, shown as they are.
    """

    def __init__(self, *arguments: Any, examples: str = "", **attributes: Any) -> None:
        attributes.setdefault("context_settings", SETTINGS)
        super().__init__(*arguments, **attributes)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """For an option that is not there, raise with what it might have been."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise describe_missing(error, ctx, typed) from error

    def get_help(self, ctx: click.Context) -> str:
        """The page, as stdout can hold it."""
        return held(super().get_help(ctx))

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each as it is typed."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write_text("\b\n" + inspect.cleandoc(self.examples))


class SectionedCommand(Page):
    """A command whose options stand under the headings that they name. Each takes --quiet."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        quiet = "Say nothing on stderr but faults."
        self.params.append(
            click.Option(["--quiet"], is_flag=True, expose_value=False, callback=_hush, help=quiet)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse NaN and infinity, which click takes for numbers in any range, and say what was meant."""
        args = present_names(self, args)
        check_several(ctx, self.params, args)
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(str(parameter.name))
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, float) and not math.isfinite(one):
                    raise click.BadParameter(f"{one} is no finite number.", ctx, parameter)
        return rest

    def format_help_text(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the docstring; a paragraph with an indented line is kept as typed."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(kept_as_typed(self.help or ""))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section of options, the command's own first."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        last = "Options"
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and not isinstance(parameter, click.Argument):
                last = getattr(parameter, "section", last)  # --help comes last, wherever that is
                sections.setdefault(last, []).append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class LazyGroup(Page, click.Group):
    """A group that knows the names and first lines of its commands before it has the commands.

    Subclasses give `sections` and `get_command`. Called alone it shows its help.
    """

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **{**attributes, "invoke_without_command": True})

    def sections(self) -> dict[str, dict[str, str]]:
        """Heading -> command -> its first line."""
        raise NotImplementedError

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return [name for commands in self.sections().values() for name in commands]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str, click.Command, list[str]]:
        """Find a command; for an unknown one, raise with what it might have been."""
        command = self.get_command(ctx, args[0])
        if command is None:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return args[0], command, args[1:]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or show the help where there is none."""
        if not ctx._protected_args and not ctx.args:
            echo(ctx.get_help())
            return None
        return super().invoke(ctx)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings, all texts in one column."""
        sections = self.sections()
        width = max((len(name) for commands in sections.values() for name in commands), default=0)
        for title, commands in sections.items():
            if commands:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])


def kept_as_typed(text: str) -> str:
    r"""Mark paragraphs that have an indented line with click's \b, so that it does not fill them."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        f"\b\n{paragraph}" if any(line.startswith(" ") for line in paragraph.splitlines()) else paragraph
        for paragraph in paragraphs
    )
