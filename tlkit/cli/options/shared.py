"""Options that several commands share, each with the section of the help under which it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tlkit.core.reading import Reading
from tlkit.core.run_folder import RUNS
from tlkit.data.images.decoding.pixel_limit import MOST_PIXELS, pixel_limit
from tlkit.data.images.small_class_choice import REFUSE, read_choice
from tlkit.errors import UsageFault

READING = ("include", "exclude", "path_column", "label_column", "suffix")  # fields of `Reading`
_FILE = click.Path(path_type=Path)
CSV_SAFE = "In CSV, an apostrophe before names that a spreadsheet would run (=, +, -, @)."
PIXELS = "Images of more pixels are refused, by their header, before they are decoded."
GROUP = "Regular expression on the path, or CSV column: images with the same value stay together."


class SectionOption(click.Option):
    """A click option that names the section of the help it belongs to."""

    def __init__(self, *arguments: Any, section: str = "Options", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.section = section


class SmallClasses(click.ParamType):
    """What becomes of small classes: refuse, leave-out, fold or fold:NAME."""

    name = "choice"

    def convert(self, value: Any, _parameter: click.Parameter | None, _context: click.Context | None) -> str:
        """The value as typed, once it is known to be one."""
        read_choice(value)
        return str(value)


def split_options() -> list[click.Option]:
    """What every recipe takes that splits images into training, validation and test."""
    return [
        _data("--group", metavar="TEXT", help=GROUP),
        _data(
            "--split",
            "--protocol",
            "manifest",
            type=_FILE,
            metavar="FILE",
            help="Fixed parts: the split.csv of another run, or a CSV of path,part.",
        ),
        _data(
            "--hold-out",
            metavar="TEXT",
            help="Test part: COLUMN=VALUE or expression on the path (series=baggage).",
        ),
        _data("--allow-leak", is_flag=True, help="Train although parts share images; the report says so."),
        _data("--skip-bad", is_flag=True, help="Leave unreadable images out; the report lists them."),
        _data(
            "--synthetic",
            "more",
            multiple=True,
            metavar="RUN",
            help="Add a run's synthetic images to training; may be repeated.",
        ),
        _data(
            "--small-classes",
            type=SmallClasses(),
            default=REFUSE,
            metavar="refuse|leave-out|fold",
            help="Classes with too few groups for all parts; fold: into other, or fold:NAME.",
        ),
        _data("--download", is_flag=True, help="Let a tfds: source be downloaded."),
        *reading_options(),
    ]


def reading_options() -> list[click.Option]:
    """Which images of a source are read, and which columns of a table say what; the fields of `Reading`."""
    return [
        _data(
            "--include", multiple=True, metavar="PATTERN", help="Read only these images ('*_rgb.png', 'a/*')."
        ),
        _data(
            "--exclude", multiple=True, metavar="PATTERN", help="Leave images out ('*_mask.png', 'masks/*')."
        ),
        _data("--path-column", metavar="NAME", help="Column of a CSV source that names the files."),
        _data("--label-column", metavar="NAME", help="Column of a CSV source that holds the classes."),
        _data("--suffix", metavar=".EXT", help="What the files' names in a CSV source lack, such as .jpg."),
    ]


def with_reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`reading_options` for a verb; `reading_of` makes one value of what they got."""
    for option in reversed(reading_options()):
        function.__dict__.setdefault("__click_params__", []).append(option)
    return function


def reading_of(options: Mapping[str, Any]) -> Reading:
    """How a source is to be read, from options by name; those of a run of an earlier version may be absent."""
    given: dict[str, Any] = {name: options[name] for name in READING if options.get(name)}
    patterns: dict[str, Any] = {name: tuple(given.pop(name, ())) for name in ("include", "exclude")}
    return replace(Reading(), **given, **patterns)


def run_options() -> list[click.Option]:
    """What every recipe takes, whatever it makes."""
    return [
        _run("--name", metavar="TEXT", help="Name of the run.  [default: recipe and source]"),
        _run("--runs", type=_FILE, default=RUNS, metavar="FOLDER", help="Where runs are kept."),
        _run("--seed", type=click.IntRange(min=0), default=0, help="Seed of all that is random."),
        _run("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", help="Where to compute."),
        _run(
            "--max-pixels",
            "most_pixels",
            type=click.IntRange(min=1),
            default=MOST_PIXELS,
            metavar="N",
            help=f"{PIXELS} So does the served model.",
        ),
        _run("--dry-run", is_flag=True, help="Check data and model; train nothing, leave nothing."),
        _run("--json", "as_json", is_flag=True, help="Print one JSON object."),
        _run("--csv-safe", is_flag=True, help=CSV_SAFE),
        _run("--verbose", is_flag=True, help="Let TensorFlow talk too."),
    ]


# Of a verb: --json; of one that writes names as CSV: --csv-safe; of one that looks runs up by name: --runs; of one
# that asks a run: --max-pixels, which `hold_limit` makes hold.
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
csv_safe_option = click.option("--csv-safe", is_flag=True, help=CSV_SAFE)
runs_option = click.option(
    "--runs", type=_FILE, default=RUNS, metavar="FOLDER", help="Where runs are looked up by name."
)
served_pixels_option = click.option(
    "--max-pixels",
    "most_pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"{PIXELS}  [default: what the run reads]",
)


def most_pixels_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--max-pixels` for a verb that reads a source; it holds until the verb ends."""

    def hold(ctx: click.Context, _option: click.Parameter, most: int) -> None:
        ctx.with_resource(pixel_limit(most))

    return click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        default=MOST_PIXELS,
        metavar="N",
        help=PIXELS,
        expose_value=False,
        callback=hold,
    )(function)


def hold_limit(run: Path, card: Mapping[str, Any], most: int | None) -> None:
    """Read images of `served_limit` pixels at most until the command ends.

    Raises:
        UsageFault: See there.
    """
    click.get_current_context().with_resource(pixel_limit(served_limit(run, card, most)))


def served_limit(run: Path, card: Mapping[str, Any], most: int | None = None) -> int:
    """Of how many pixels an image may be that a run is asked about: as many as wanted, else as the run's model reads.

    Args:
        run: Its folder.
        card: Its card; that of a run of an earlier version names no limit, and its model has none.
        most: As wanted.

    Raises:
        UsageFault: More than the model reads, which has its limit inside.
    """
    served: int | None = card.get("most_pixels")
    if most and served and most > served:
        raise UsageFault(
            f"--max-pixels {most} is above {served}, the most that the model of {run} reads.",
            f"Give {served} or less, or make the run again with --max-pixels {most}.",
        )
    return most or served or MOST_PIXELS


def _data(*declarations: str, **attributes: Any) -> SectionOption:
    return SectionOption(declarations, section="Data", **attributes)


def _run(*declarations: str, **attributes: Any) -> SectionOption:
    return SectionOption(declarations, section="Run", **attributes)
