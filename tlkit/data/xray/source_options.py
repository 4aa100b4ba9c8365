"""Source options: `xray:NAME:key=value,key=value`, and which bags `xray:bags` with options is.

Free of NumPy and SciPy, so that commands can ask before anything is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tlkit.core.text import did_you_mean, listed
from tlkit.errors import UsageFault

BAGS, CROPS = "xray:bags", "xray:crops"
VERSION = "1"  # of the bags: changes whenever a seed draws other images; names the cache folder
COUNT, MOST = 2000, 20_000  # images: the usual number, and the most that are drawn (2.3 GB, most of an hour)
BYTES = 231e6 / COUNT  # an image, about
# A larger seed would be split into two numbers of the generator's, and might begin like another seed.
LARGEST_SEED = 2**32 - 1


class Span(NamedTuple):
    """Values that an option may have, and one for an example."""

    least: int
    most: int
    example: int


BAG_OPTIONS = {"seed": Span(0, LARGEST_SEED, 7), "count": Span(1, MOST, 400)}


@dataclass(frozen=True)
class BagSet:
    """Which bags are drawn.

    Attributes:
        seed: Another seed shares no bag, no threat and no group with this one.
        count: Images: the first so many of the seed's; two of a bag, so that an odd number shows the last from one
            side only.
    """

    seed: int = 0
    count: int = COUNT

    @property
    def source(self) -> str:
        """How a person types it, the shortest way."""
        usual = asdict(BagSet())
        given = ",".join(f"{name}={value}" for name, value in asdict(self).items() if value != usual[name])
        return f"{BAGS}:{given}" if given else BAGS

    @property
    def folder(self) -> str:
        """Its name in the cache."""
        own = "" if self == BagSet() else f"-seed-{self.seed}-count-{self.count}"
        return f"bags-{VERSION}{own}"

    @property
    def facts(self) -> dict[str, Any]:
        """For the card."""
        return {**asdict(self), "version": VERSION}


def is_bags(source: str) -> bool:
    """Whether the built-in bags are meant, with options or without."""
    return source == BAGS or source.startswith(f"{BAGS}:")


def read_bags(source: str) -> BagSet:
    """Which bags a source is.

    Raises:
        UsageFault: It is another source, or its options are none of the bags'.
    """
    if not is_bags(source):
        raise UsageFault(f"Source {source} is unknown.", f"The built-in bags are {BAGS}.")
    return BagSet(**read_options(source, BAGS, BAG_OPTIONS))


def drawn_facts(source: str) -> dict[str, Any]:
    """What the card says of a set that was drawn; nothing of other sources."""
    return {"drawn": read_bags(source).facts} if is_bags(source) else {}


def same_source(one: str | None, other: str | None) -> bool:
    """Whether two sources are the same, however their options are written."""
    return one == other or bool(
        one and other and is_bags(one) and is_bags(other) and read_bags(one) == read_bags(other)
    )


def read_options(source: str, name: str, known: Mapping[str, Span]) -> dict[str, int]:
    """The options behind the name of a built-in source.

    Args:
        source: As typed; begins with `name`.
        name: `xray:NAME`.
        known: Options by name.

    Raises:
        UsageFault: One is unknown, given twice, or has no value that it may have.
    """
    text, found = source.removeprefix(name), dict[str, int]()
    if not text:
        return found
    if not known:
        raise UsageFault(
            f"{name} takes no options, such as {text.removeprefix(':') or text}.", f"Use {name}."
        )
    example = f"{name}:{','.join(f'{key}={span.example}' for key, span in known.items())}"
    for part in text.removeprefix(":").split(","):
        key, _, value = part.partition("=")
        if key not in known:
            what = f"{name} has no option {key}." if key else f"An option of {source} has no name."
            hint = did_you_mean(key, known)
            raise UsageFault(what, f"{hint} It has {listed(list(known))}, as in {example}.".lstrip())
        if key in found:
            raise UsageFault(f"{source} gives {key} twice.", f"Give it once, as in {example}.")
        found[key] = _number(source, f"{name}:{key}", value, known[key])
    return found


def _number(source: str, option: str, value: str, span: Span) -> int:
    """The value of an option."""
    key = option.rpartition(":")[2]
    if not re.fullmatch("-?[0-9]+", value):
        raise UsageFault(
            f"{key}={value} of {source} is no whole number.",
            f"Give one from {span.least:,} to {span.most:,}, as in {option}={span.example}.",
        )
    number = int(value[:20])  # longer ones are far outside, too
    if number < span.least:
        raise UsageFault(
            f"{key}={value} of {source} is below {span.least}.", f"Use {option}={span.example}, say."
        )
    if number > span.most:
        raise UsageFault(
            f"{key}={value} of {source} is above {span.most:,}.", f"Use {option}={span.most} or less."
        )
    return number
