"""Near duplicates by blocks and signatures are those that comparing everything with everything finds."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tlkit.data.images.inspection import inspect_files
from tlkit.data.images.near_duplicates import (
    ALIKE,
    BLOCK,
    DETAIL,
    TURNS,
    families,
    linked_copies,
    near_duplicates,
)

# Each turn as Pillow says it: an oracle that knows nothing of our order of axes.
BY_HAND = {
    "turned left": Image.Transpose.ROTATE_90,
    "turned by 180 degrees": Image.Transpose.ROTATE_180,
    "turned right": Image.Transpose.ROTATE_270,
    "mirrored left-right": Image.Transpose.FLIP_LEFT_RIGHT,
    "mirrored up-down": Image.Transpose.FLIP_TOP_BOTTOM,
}


def blobs(number: int, count: int = 1, side: int = 6) -> np.ndarray:
    """uint8 [count, 32, 32]: images with shapes, no two alike."""
    generator = np.random.default_rng(number)
    small = generator.integers(0, 256, (count, side, side), np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize((32, 32), Image.Resampling.BICUBIC)) for s in small]
    )


def transformed(image: np.ndarray, how: Image.Transpose | None) -> np.ndarray:
    opened = Image.fromarray(image)
    return np.asarray(opened if how is None else opened.transpose(how))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


def detail(image: np.ndarray) -> np.ndarray:
    """An image without its 3 x 3 lowest cosines, by SciPy."""
    from scipy.fft import dctn, idctn

    coefficients = dctn(image.astype(float), norm="ortho")
    coefficients[:3, :3] = 0
    return idctn(coefficients, norm="ortho")


def groups_of(links) -> set[frozenset[int]]:
    return {frozenset(i for link in family for i in link[:2]) for family in families(links)}


def by_loop(images: np.ndarray) -> set[frozenset[int]]:
    """Families by comparing every image with the eight turns of every other."""
    home = list(range(len(images)))
    ways = [None, *Image.Transpose]
    for i in range(len(images)):
        for j in range(i):
            if images[i].min() == images[i].max() or images[j].min() == images[j].max():
                continue
            turned = [transformed(images[i], how) for how in ways]
            if any(
                correlation(t, images[j]) >= ALIKE and correlation(detail(t), detail(images[j])) >= DETAIL
                for t in turned
            ):
                home = [home[j] if h == home[i] else h for h in home]
    return {frozenset(np.flatnonzero(np.array(home) == h)) for h in set(home) if home.count(h) > 1}


def test_families_are_those_of_a_loop_over_all_pairs():
    """38 images: copies of all eight turns, with noise of a growing strength, some even, some smooth."""
    generator = np.random.default_rng(5)
    images = list(blobs(0, 16))
    for number, how in enumerate([None, *Image.Transpose] * 2):
        noisy = transformed(images[number], how) + generator.normal(0, 3 * (number % 5), (32, 32))
        images.append(np.clip(noisy, 0, 255).astype(np.uint8))
    ramp = np.arange(32)[None] * np.ones((32, 1))
    images += [np.full((32, 32), level, np.uint8) for level in (0, 0, 200)]
    images += [(ramp * slope + generator.normal(0, 1, (32, 32)) + 20).astype(np.uint8) for slope in (2, 4, 6)]
    images = np.stack(images)
    expected = by_loop(images)
    assert len(expected) >= 8  # else there would be nothing to compare
    assert groups_of(linked_copies(images)) == expected


@pytest.mark.parametrize("turn", BY_HAND)
def test_a_link_says_how_the_first_is_turned(turn):
    image = blobs(1)[0]
    (link,) = linked_copies(np.stack([image, transformed(image, BY_HAND[turn])]))
    assert (link.one, link.other) == (1, 0)
    # Turning `one` as the link says gives `other`: an image turned left is turned right to fit.
    back = {"turned left": "turned right", "turned right": "turned left"}.get(turn, turn)
    assert TURNS[link.turn] == back
    assert link.correlation == pytest.approx(1, abs=1e-5)


def test_copies_are_found_across_blocks():
    half = BLOCK + 40
    images = np.concatenate([blobs(2, half), blobs(2, half)[::-1]])
    expected = {frozenset((i, 2 * half - 1 - i)) for i in range(half)}
    assert groups_of(linked_copies(images)) == expected


def test_a_image_between_two_joins_them():
    """Two noisy copies are too far from each other, but not from the image that both are copies of."""
    generator = np.random.default_rng(1)
    image = blobs(8)[0] * 0.8 + 25
    noisy = [np.clip(image + generator.normal(0, 5.5, (32, 32)), 0, 255).astype(np.uint8) for _ in range(2)]
    image = image.astype(np.uint8)
    assert correlation(*noisy) < ALIKE < min(correlation(image, one) for one in noisy)
    links = linked_copies(np.stack([*noisy, image]))
    assert [link[:2] for link in links] == [(2, 0), (2, 1)]


def test_only_the_chosen_are_compared():
    images = np.repeat(blobs(3, 3), 3, axis=0)
    links = linked_copies(images, np.array([0, 2, 4, 5, 6]))
    assert [link[:2] for link in links] == [(2, 0), (5, 4)]


def test_a_thousand_equal_images_are_999_links():
    images = np.repeat(blobs(3), 1000, axis=0)
    links = linked_copies(images)
    assert len(links) == 999
    assert len(families(links)) == 1


def test_even_images_are_copies_of_nothing():
    assert linked_copies(np.full((5, 32, 32), 77, np.uint8)) == []
    assert linked_copies(np.zeros((0, 32, 32), np.uint8)) == []


def test_memory_stays_small():
    """1,500 images: less than 12 MiB beyond the thumbnails; five arrays of all pairs would take 43 MiB."""
    images = blobs(4, 1500)
    tracemalloc.start()
    linked_copies(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2**20


def encoded(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def test_saved_again_smaller_brighter_and_turned_files_are_found(tmp_path):
    small = np.random.default_rng(9).integers(0, 256, (9, 9, 3), np.uint8)
    photo = Image.fromarray(small).resize((300, 200), Image.Resampling.BICUBIC)
    copies = {
        "photo.png": (photo, {"format": "PNG"}),
        "low.jpg": (photo, {"format": "JPEG", "quality": 30}),
        "half.webp": (photo.resize((150, 100)), {"format": "WEBP"}),
        "contrast.png": (photo.point(lambda v: 40 + v * 0.6), {"format": "PNG"}),
        "mirrored.jpg": (photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"format": "JPEG"}),
        "turned.gif": (photo.transpose(Image.Transpose.ROTATE_90), {"format": "GIF"}),
    }
    for name, (image, options) in copies.items():
        (tmp_path / name).write_bytes(encoded(image, **options))
    thumbnails = np.stack([i.thumbnail for i in inspect_files([tmp_path / name for name in copies])])
    links = linked_copies(np.concatenate([thumbnails, blobs(11, 20)]))
    assert groups_of(links) == {frozenset(range(6))}


def test_the_nearest_of_two_sets():
    images = np.concatenate([blobs(6, 4), blobs(6, 4)[:2, ::-1]])
    assert near_duplicates(images, np.array([4, 5]), np.arange(4)) == [(4, 0), (5, 1)]
    assert near_duplicates(images, np.array([2]), np.array([0, 1])) == []
    assert near_duplicates(images, np.array([], int), np.arange(4)) == []
