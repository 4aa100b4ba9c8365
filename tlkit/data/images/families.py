"""Connected components: what belongs together because pairs say so: copies of copies, groups that share an image."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


def family_of(pairs: Iterable[tuple[Thing, Thing]]) -> dict[Thing, int]:
    """The number of the family of everything in pairs: of one family is what pairs lead to from one another."""
    place: dict[Thing, int] = {}
    ends = [[place.setdefault(thing, len(place)) for thing in pair] for pair in pairs]
    if not ends:
        return {}
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = zip(*ends, strict=True)
    graph = coo_array(([True] * len(ends), (one, other)), shape=(len(place), len(place)))
    return dict(zip(place, connected_components(graph, directed=False)[1].tolist(), strict=True))
