"""Hand-made features: values by hand, scikit-image and plain loops as oracles, and what each must not notice."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tlkit.errors import UsageFault
from tlkit.tasks.features import handcrafted as handmade
from tlkit.tasks.features import spectrum, texture
from tlkit.tasks.features.handcrafted import HANDCRAFTED, find_handcrafted

NAMES = ("lbp", "haralick", "fourier", "gabor", "hog", "intensity", "pixels")


def noise(size: int, seed: int = 0) -> np.ndarray:
    """Grey noise with a gradient, uint8 [s, s]: every family has something to say about it."""
    slope = np.linspace(0, 100, size)[None] + np.linspace(0, 60, size)[:, None]
    return (np.random.default_rng(seed).integers(0, 90, (size, size)) + slope).astype(np.uint8)


def rgb(*greys: np.ndarray) -> np.ndarray:
    return np.stack(greys)[..., None].repeat(3, axis=-1)


def describe(name: str, *greys: np.ndarray) -> np.ndarray:
    return HANDCRAFTED[name](rgb(*greys))


# --- every family ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_finite_whatever_it_sees(name):
    family = find_handcrafted(name)
    size = family.image_size
    checks = np.indices((size, size)).sum(axis=0) % 2 * 255
    dot = np.zeros((size, size), int)
    dot[size // 2, size // 2] = 255
    images = [np.full((size, size), level) for level in (0, 7, 128, 255)] + [noise(size), checks, dot]
    rows = family(rgb(*(image.astype(np.uint8) for image in images)))
    assert rows.shape == (7, family.width)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert not np.array_equal(rows[4], rows[5])
    assert np.abs(rows).max() < 1e4


@pytest.mark.parametrize("name", NAMES)
def test_an_image_gives_the_same_alone_and_among_others(name):
    size = HANDCRAFTED[name].image_size
    pair = describe(name, noise(size, 1), noise(size, 2))
    np.testing.assert_array_equal(pair[1:], describe(name, noise(size, 2)))
    assert np.abs(pair[0] - pair[1]).max() > 1e-4
    assert HANDCRAFTED[name](np.zeros((0, size, size, 3), np.uint8)).shape == (0, HANDCRAFTED[name].width)


def test_the_list_is_in_order_and_takes_neither_scikit_image_nor_tensorflow():
    assert tuple(HANDCRAFTED) == NAMES
    code = "import sys; from tlkit.tasks.features import handcrafted as handcrafted; handcrafted.HANDCRAFTED['hog'].digest; print({'skimage', 'scipy', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_wrong_name_is_a_usage_fault_with_a_suggestion():
    with pytest.raises(UsageFault) as fault:
        find_handcrafted("haralik")
    assert fault.value.problem == "There are no hand-made features 'haralik'."
    assert fault.value.remedy == "Did you mean haralick?"
    with pytest.raises(UsageFault, match="Take one of: lbp, haralick, fourier"):
        find_handcrafted("xyz")


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 128, 128, 3), np.float32),
        np.zeros((1, 96, 96, 3), np.uint8),
        np.zeros((1, 128, 128), np.uint8),
    ],
)
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match=r"lbp takes uint8 \[b, 128, 128, 3\]\. Received: "):
        HANDCRAFTED["lbp"](pixels)


def test_the_digest_knows_family_version_size_and_library(monkeypatch):
    digests = {family.digest for family in HANDCRAFTED.values()}
    before = HANDCRAFTED["lbp"].digest
    assert len(digests) == len(NAMES)
    assert all(len(digest) == 64 for digest in digests)
    monkeypatch.setattr(handmade, "VERSION", handmade.VERSION + 1)
    raised = HANDCRAFTED["lbp"].digest
    monkeypatch.setattr(handmade, "version", lambda _: "0.0")
    assert len({before, raised, HANDCRAFTED["lbp"].digest}) == 3


def test_grey_is_luma_to_the_nearest_level():
    colours = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50], [77, 77, 77], [255, 255, 255]], np.uint8
    )
    assert handmade.grey_levels(colours).tolist() == [76, 150, 29, 124, 77, 255]


# --- local binary patterns ---------------------------------------------------------------------------------


def test_patterns_are_those_of_scikit_image():
    from skimage.feature import local_binary_pattern

    grey = noise(128)
    found = np.split(describe("lbp", grey)[0], [10, 28])
    for shares, (points, radius) in zip(found, texture.CIRCLES, strict=True):
        theirs = local_binary_pattern(grey, points, radius, "uniform")[radius:-radius, radius:-radius]
        expected = np.bincount(theirs.astype(int).ravel(), minlength=points + 2) / theirs.size
        assert shares.sum() == pytest.approx(1)
        np.testing.assert_allclose(shares, expected, atol=0.003)  # ties between pixels are theirs to lose


def test_a_flat_area_is_one_pattern_at_every_level():
    flat = describe("lbp", *(np.full((128, 128), level, np.uint8) for level in range(0, 256, 15)))
    expected = np.zeros(54)
    expected[[8, 10 + 16, 28 + 24]] = 1  # all neighbours as bright as the centre
    np.testing.assert_array_equal(flat, np.tile(expected, (len(flat), 1)))


def test_patterns_of_an_edge_by_hand():
    grey = np.zeros((128, 128), np.uint8)
    grey[:, 64:] = 200
    shares = describe("lbp", grey)[0][:10] * 126 * 126
    # The last dark column sees 3 brighter points of 8 as well as 5 equal ones; the first bright column sees 3 darker.
    assert shares[8] == pytest.approx(126 * 125)
    assert shares[5] == pytest.approx(126)
    assert shares.sum() == pytest.approx(126 * 126)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize(("name", "tolerance"), [("lbp", 1e-3), ("haralick", 1e-4)])
def test_a_quarter_turn_changes_nothing(name, tolerance, turns):
    upright, turned = describe(name, noise(128), np.rot90(noise(128), turns))
    np.testing.assert_allclose(turned, upright, rtol=tolerance, atol=tolerance)


# --- co-occurrence -----------------------------------------------------------------------------------------

HARALICKS_IMAGE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], np.uint8)
AT_0_DEGREES = np.array([[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]]) / 24


def by_loops(p: np.ndarray) -> list[float]:
    """The thirteen textures of one matrix, as the paper writes them down."""
    size = len(p)
    cells = [(i, j, p[i, j]) for i in range(size) for j in range(size)]
    rows, columns = p.sum(axis=1), p.sum(axis=0)

    def entropy(values):
        return -sum(v * np.log(v) for v in values if v > 0)

    mean = sum(i * v for i, _, v in cells)
    variance = sum((i - mean) ** 2 * v for i, _, v in cells)
    sums = [sum(v for i, j, v in cells if i + j == k) for k in range(2 * size - 1)]
    gaps = [sum(v for i, j, v in cells if abs(i - j) == k) for k in range(size)]
    sum_mean = sum(k * v for k, v in enumerate(sums))
    gap_mean = sum(k * v for k, v in enumerate(gaps))
    crossed = -sum(v * np.log(rows[i] * columns[j]) for i, j, v in cells if v > 0)
    independent = entropy([rows[i] * columns[j] for i, j, _ in cells])
    whole = entropy([v for *_, v in cells])
    return [
        sum(v**2 for *_, v in cells),
        sum((i - j) ** 2 * v for i, j, v in cells),
        (sum(i * j * v for i, j, v in cells) - mean**2) / variance,
        variance,
        sum(v / (1 + (i - j) ** 2) for i, j, v in cells),
        sum_mean,
        sum((k - sum_mean) ** 2 * v for k, v in enumerate(sums)),
        entropy(sums),
        whole,
        sum((k - gap_mean) ** 2 * v for k, v in enumerate(gaps)),
        entropy(gaps),
        (whole - crossed) / max(entropy(rows), entropy(columns)),
        np.sqrt(1 - np.exp(-2 * (independent - whole))),
    ]


def test_textures_of_haralicks_own_example_by_hand():
    """His figure 3: the matrix at distance 1 and 0 degrees has 24 pairs."""
    found = texture.textures(HARALICKS_IMAGE, 4, (1,))[0, 0]
    assert found[0] == pytest.approx((16 + 4 + 1 + 4 + 16 + 1 + 36 + 1 + 1 + 4) / 24**2)  # 84 / 576
    assert found[1] == pytest.approx((2 * 2 * 1 + 2 * 1 * 4 + 2 * 1 * 1) / 24)  # 14 / 24
    assert found[4] == pytest.approx((16 + 6 / 2 + 2 / 5) / 24)
    assert found[5] == pytest.approx(2 * (6 * 1 + 8 * 2 + 3 * 3) / 24)  # rows of the matrix: 7, 6, 8, 3
    np.testing.assert_allclose(found, by_loops(AT_0_DEGREES), rtol=1e-12)


def test_textures_in_every_direction_are_those_of_plain_loops_and_of_scikit_image():
    from skimage.feature import graycomatrix, graycoprops

    levels = noise(20) // 16
    matrices = graycomatrix(levels, (1, 2), texture.ANGLES, levels=16, symmetric=True, normed=True)
    found = texture.textures(levels, 16, (1, 2))
    for column, name in ((0, "ASM"), (1, "contrast"), (2, "correlation"), (4, "homogeneity")):
        np.testing.assert_allclose(found[..., column], graycoprops(matrices, name), rtol=1e-9)
    for distance, direction in ((0, 0), (0, 3), (1, 1)):
        expected = by_loops(matrices[:, :, distance, direction])
        np.testing.assert_allclose(found[distance, direction], expected, rtol=1e-9)


def test_haralick_is_mean_then_range_of_the_directions():
    grey = noise(128)
    each = texture.textures(grey // 8, 32, (1, 3, 5))
    found = describe("haralick", grey)[0].reshape(3, 2, 13)
    np.testing.assert_allclose(found[:, 0], each.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], each.max(axis=1) - each.min(axis=1), rtol=1e-5, atol=1e-6)


# --- spectrum ----------------------------------------------------------------------------------------------


def test_the_spectrum_does_not_see_a_shift():
    grey = noise(128)
    here, there = describe("fourier", grey, np.roll(grey, (17, -40), axis=(0, 1)))
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_a_wave_is_its_own_frequency():
    wave = 128 + 100 * np.cos(2 * np.pi * 3 * np.arange(128) / 128)[None].repeat(128, axis=0)
    found = describe("fourier", wave.round().astype(np.uint8))[0]
    (down, right), _, _ = spectrum._frequencies(128)
    strongest = int(found[:40].argmax())
    assert (down[strongest], right[strongest]) == (0, 3)
    assert found[strongest] == pytest.approx(
        np.log1p(50 * 128), rel=1e-3
    )  # |F| = 100 / 2 * s^2, told in units of s
    assert np.delete(found[:40], strongest).max() < 3  # what rounding to levels adds


def test_every_ring_and_sector_has_frequencies():
    _, bins, counts = spectrum._frequencies(128)
    assert counts.min() >= 2
    assert counts.sum() == (bins < 64).sum()


@pytest.mark.parametrize("direction", range(spectrum.DIRECTIONS))
@pytest.mark.parametrize("scale", range(len(spectrum.WAVELENGTHS)))
def test_gabor_names_wavelength_and_direction_of_a_grating(scale, direction):
    angle = direction * np.pi / spectrum.DIRECTIONS
    down, right = np.indices((128, 128))
    phase = 2 * np.pi * (right * np.cos(angle) + down * np.sin(angle)) / spectrum.WAVELENGTHS[scale]
    means = describe("gabor", (128 + 100 * np.sin(phase)).astype(np.uint8))[0][:24].reshape(4, 6)
    assert np.unravel_index(means.argmax(), means.shape) == (scale, direction)
    assert means.max() == pytest.approx(
        100 / 255 / 2, rel=0.05
    )  # half the amplitude lies in one half of the spectrum


# --- edges, levels, pixels ---------------------------------------------------------------------------------


def test_hog_has_the_length_of_its_formula_and_sees_the_direction_of_an_edge():
    cells = 128 // 16
    assert HANDCRAFTED["hog"].width == (cells - 2 + 1) ** 2 * 2 * 2 * 9
    ramp = np.arange(128, dtype=np.uint8)[None].repeat(128, axis=0)
    across, down = describe("hog", ramp, ramp.T).reshape(2, -1, 9).mean(axis=1)
    assert across.argmax() == 0  # gradient to the right: 0 degrees
    assert down.argmax() == 4  # downwards: 90 degrees, in the middle bin of 80 to 100


def test_intensity_knows_nothing_of_places():
    grey = noise(128)
    same = describe(
        "intensity", grey, grey[::-1], grey[:, ::-1], grey.T, np.sort(grey.ravel()).reshape(128, 128)
    )
    np.testing.assert_array_equal(same, np.tile(same[:1], (5, 1)))


def test_intensity_is_what_numpy_and_scipy_say():
    from scipy.stats import kurtosis, skew

    grey = noise(128)
    found = describe("intensity", grey)[0]
    values = grey.ravel() / 255
    np.testing.assert_allclose(found[:32], np.histogram(grey, 32, (0, 256))[0] / grey.size, rtol=1e-6)
    expected = [values.mean(), values.std(), np.arcsinh(skew(values)), np.arcsinh(kurtosis(values))]
    np.testing.assert_allclose(found[32:36], expected, rtol=1e-5)
    quantiles = np.quantile(values, handmade.QUANTILES, method="inverted_cdf")
    np.testing.assert_allclose(found[36:], quantiles, rtol=1e-6)


def test_pixels_are_means_of_four_by_four():
    grey = noise(96)
    found = describe("pixels", grey)[0].reshape(24, 24)
    assert found[0, 0] == pytest.approx(grey[:4, :4].mean() / 255)
    assert found[5, 23] == pytest.approx(grey[20:24, 92:].mean() / 255)
