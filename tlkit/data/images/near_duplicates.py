"""Images that are copies of one another up to a mirror, a right-angle turn, scaling, tone or re-encoding.

Two images are near duplicates when their 32 x 32 grey thumbnails correlate, over the eight turns and mirrors, and
what is left of them without their broad shading does too. All pairs of a large set are compared by a perceptual
hash first: the lowest cosine coefficients, as in pHash, but kept as numbers. Their signs alone, compared by Hamming
distance, lose copies of smooth images, whose small coefficients change sign by chance: some of the real castings'
copies differ in 25 of 63 signs. With the numbers nothing is lost, for they bound the correlation from above.

Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tlkit.data.images.families import family_of

COEFFICIENTS = 8  # a side: 8 x 8 of the 32 x 32 cosine coefficients
BLOCK, TILE = 256, 1024  # images compared with so many others at a time
CHUNK = 1024  # pairs whose whole thumbnails are compared at a time, 4 MiB a side
SURE = 0.998  # what a split warns of
ALIKE = 0.99  # what a check shows: also changed brightness or contrast, or a border of 1 % cut off
# Smooth images (a patch of bare metal) correlate because both shade from one side to the other. Copies agree in
# what is left without that: at least 0.92 in 99 of 100 real mirrored pairs, under 0.8 in the smooth pairs looked at.
SMOOTH, DETAIL = 3, 0.9
ROUNDING = 1e-4  # of float32 sums, on the side of looking once more
TURNS = (
    "as it is",
    "turned left",
    "turned by 180 degrees",
    "turned right",
    "mirrored left-right",
    "mirrored and turned left",
    "mirrored up-down",
    "mirrored and turned right",
)


class NearCopy(NamedTuple):
    """Image `one`, turned as in `TURNS[turn]`, looks like image `other`, with this correlation."""

    one: int
    other: int
    turn: int
    correlation: float


def near_duplicates(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images whose thumbnails correlate by `SURE` or more, over the eight turns and mirrors.

    Args:
        thumbnails: uint8 [n, 32, 32].
        first: Indices to compare...
        second: ...with these indices.

    Returns:
        (i, j) for each i of `first` that has a near duplicate in `second`, with its nearest j.
    """
    if not len(first) or not len(second):
        return []
    flat = _standardised(thumbnails[second])
    best = np.full(len(first), -1.0)
    partner = np.zeros(len(first), int)
    for turned in _turns(thumbnails[first]):
        rows = _standardised(turned)
        for start in range(0, len(rows), 512):  # blocks keep memory flat for large sets
            block = rows[start : start + 512] @ flat.T
            nearest = block.argmax(1)
            value = block[np.arange(len(block)), nearest]
            better = value > best[start : start + 512]
            best[start : start + 512][better] = value[better]
            partner[start : start + 512][better] = nearest[better]
    return [(int(first[i]), int(second[partner[i]])) for i in np.flatnonzero(best >= SURE)]


def linked_copies(thumbnails: np.ndarray, chosen: np.ndarray | None = None) -> list[NearCopy]:
    """Links that join every family of near duplicates: two images are of one family if links lead from one to the other.

    There are as many links as images less families, not as many as pairs, so that a thousand equal images
    stay a thousand links. Images of one even tone are copies of nothing.

    Args:
        thumbnails: uint8 [n, 32, 32].
        chosen: int [m], rising: which of them to compare; by default all.

    Returns:
        Links with one > other, in the order of `one`.
    """
    if chosen is None:
        chosen = np.arange(len(thumbnails))
    if not len(chosen):
        return []
    starts = range(0, len(chosen), BLOCK)
    signatures = _Signature.joined(
        [_signature(_standardised(thumbnails[chosen[start : start + BLOCK]])) for start in starts]
    )
    family = np.arange(len(chosen))
    links: list[NearCopy] = []
    for start in starts:
        for turn, images in enumerate(_turns(thumbnails[chosen[start : start + BLOCK]])):
            flat = _standardised(images)
            rows = _Rows(start, turn, flat, _signature(flat))
            one, other = _candidates(rows, signatures)
            links += _joined(rows, (thumbnails, chosen), signatures, one, other, family)
    named = (NearCopy(int(chosen[link.one]), int(chosen[link.other]), *link[2:]) for link in links)
    return sorted(named)


def families(links: list[NearCopy]) -> list[list[NearCopy]]:
    """The links, one list a family."""
    family = family_of(link[:2] for link in links)
    found: dict[int, list[NearCopy]] = {}
    for link in links:
        found.setdefault(family[link.one], []).append(link)
    return list(found.values())


class _Signature(NamedTuple):
    """What is known of standardised images without looking at them as a whole.

    Attributes:
        low: float32 [n, 9], the lowest coefficients: broad shading.
        middle: float32 [n, 55], the next ones.
        hidden: float32 [n], length of what no coefficient tells.
        detail: float32 [n], length of all but `low`.
    """

    low: np.ndarray
    middle: np.ndarray
    hidden: np.ndarray
    detail: np.ndarray

    @classmethod
    def joined(cls, some: list[_Signature]) -> _Signature:
        """The signature of all their images, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*some, strict=True)))

    def between(self, start: int, stop: int) -> _Signature:
        """The signature of some of the images."""
        return _Signature(*(array[start:stop] for array in self))


class _Rows(NamedTuple):
    """Images from `start` on, turned: standardised float32 [b, 1024], and their signature."""

    start: int
    turn: int
    flat: np.ndarray
    signature: _Signature


def _candidates(rows: _Rows, signatures: _Signature) -> tuple[np.ndarray, np.ndarray]:
    """Pairs, one > other, whose signatures allow that they are near duplicates; the likeliest first.

    The product of two images is that of their coefficients plus that of what these hide, which is at most the
    product of the hidden lengths (Cauchy-Schwarz). So no near duplicate is left out.
    """
    found = []
    own, numbers = rows.signature, np.arange(rows.start, rows.start + len(rows.flat))
    for start in range(0, numbers[-1], TILE):  # tiles keep memory flat for large sets
        seen = signatures.between(start, min(start + TILE, numbers[-1]))
        products = own.middle @ seen.middle.T
        most = products + np.outer(own.hidden, seen.hidden) + ROUNDING
        near = most >= DETAIL * np.outer(own.detail, seen.detail)
        low = own.low @ seen.low.T
        near &= most + low >= ALIKE
        near &= np.arange(start, start + len(seen.low))[None] < numbers[:, None]
        near &= (own.detail > 0)[:, None] & (seen.detail > 0)[None]
        one, other = np.nonzero(near)
        found.append((numbers[one], other + start, (products + low)[one, other]))
    if not found:
        return np.zeros(0, int), np.zeros(0, int)
    one, other, likely = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.argsort(-likely, kind="stable")
    return one[order], other[order]


def _joined(
    rows: _Rows,
    images: tuple[np.ndarray, np.ndarray],
    signatures: _Signature,
    one: np.ndarray,
    other: np.ndarray,
    family: np.ndarray,
) -> list[NearCopy]:
    """The links among near duplicates indeed that are not of one family yet; `family` [n] is brought up to date.

    First the likeliest pair of each image is tried, then the likeliest of each image and family, then the next
    four, and so on: a set of equal images takes as many comparisons as it has images, not pairs.
    """
    links: list[NearCopy] = []
    tries, (thumbnails, chosen) = 0, images
    while True:
        apart = family[one] != family[other]
        one, other = one[apart], other[apart]
        if not len(one):
            return links
        tried = _firsts(one * len(family) + family[other], tries) if tries else _firsts(one, 1)
        for some in np.split(tried, range(CHUNK, len(tried), CHUNK)):
            value = _compared(
                rows, one[some] - rows.start, thumbnails[chosen[other[some]]], signatures, other[some]
            )
            for k in np.flatnonzero(value >= ALIKE):
                i, j = int(one[some[k]]), int(other[some[k]])
                if family[i] != family[j]:
                    links.append(NearCopy(i, j, rows.turn, float(value[k])))
                    family[family == max(family[i], family[j])] = min(family[i], family[j])
        one, other, tries = np.delete(one, tried), np.delete(other, tried), max(1, 4 * tries)


def _compared(
    rows: _Rows, one: np.ndarray, thumbnails: np.ndarray, signatures: _Signature, other: np.ndarray
) -> np.ndarray:
    """Correlation of some rows with other images, float32 [m]; -1 where their detail differs.

    Args:
        rows: Of which `one`, int [m], are meant.
        one: Indices into the rows.
        thumbnails: uint8 [m, 32, 32] of the others.
        signatures: Of all images.
        other: int [m] indices of the others.
    """
    correlation = np.einsum("ij,ij->i", rows.flat[one], _standardised(thumbnails))
    own = rows.signature
    detail = correlation - (own.low[one] * signatures.low[other]).sum(1)
    return np.where(detail >= DETAIL * own.detail[one] * signatures.detail[other], correlation, -1)


def _firsts(keys: np.ndarray, number: int) -> np.ndarray:
    """Indices of the first `number` of each key, in their order."""
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.diff(keys[order], prepend=-1))
    rank = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
    return np.sort(order[rank < number])


def _signature(flat: np.ndarray) -> _Signature:
    """The signature of standardised images float32 [n, s * s]; all zero for one of an even tone."""
    side = int(np.sqrt(flat.shape[1]))
    frequency, place = np.arange(COEFFICIENTS)[:, None], np.arange(side)[None]
    cosines = np.sqrt(2 / side) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * side))
    cosines[0] /= np.sqrt(2)  # now the rows are orthonormal
    cosines = cosines.astype(np.float32)
    square = cosines @ flat.reshape(-1, side, side) @ cosines.T
    is_low = np.maximum(frequency, frequency.T) < SMOOTH
    low, middle = square[:, is_low], square[:, ~is_low]
    length, shading = np.square(flat).sum(1), np.square(low).sum(1)
    hidden = np.sqrt(np.maximum(length - shading - np.square(middle).sum(1), 0))
    return _Signature(low, middle, hidden, np.sqrt(np.maximum(length - shading, 0)))


def _turns(images: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    return turned + [image[:, :, ::-1] for image in turned]


def _standardised(images: np.ndarray) -> np.ndarray:
    """float32 [n, 1024] of zero mean and unit length; a constant image is all zero and matches nothing."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-3)
