"""The X-ray simulator: physics by hand, shadows against another rasteriser, the set as a contract."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tlkit.data.xray import crops as xray
from tlkit.data.xray.geometry import Placed, Slab, Wire, ellipse, in_space, rectangle, rod, rotation
from tlkit.data.xray.physics import (
    ATTENUATION,
    Detector,
    add_scatter,
    expose,
    polychromatic_transmittance,
    transmittance,
)
from tlkit.data.xray.projection import View, extent, project
from tlkit.errors import UsageFault

ORIGIN = np.zeros(3)
UPRIGHT = np.eye(3)


def generator(seed=0):
    return np.random.default_rng(seed)


def shadow(solid, turn=UPRIGHT, view=None, material="steel"):
    return project([Placed(solid, turn, ORIGIN)], view or View(100, 100, 10.0, np.zeros(2)))[material]


# ---- physics ----


def test_transmittance_is_the_beer_lambert_law_by_hand():
    # 2 mm at 0.5/mm and 3 mm at 0.1/mm: exp(-1) exp(-0.3)
    maps = {"a": np.full((1, 2), [2.0, 0.0]), "b": np.full((1, 2), 3.0)}
    through = transmittance(maps, {"a": 0.5, "b": 0.1})
    assert through[0, 0] == pytest.approx(0.36787944 * 0.74081822, abs=1e-7)
    assert through[0, 1] == pytest.approx(0.74081822, abs=1e-7)


def test_transmittances_of_things_behind_each_other_multiply():
    rng = generator()
    near, far = ({"steel": rng.uniform(0, 2, (8, 9)), "water": rng.uniform(0, 60, (8, 9))} for _ in range(2))
    both = {name: near[name] + far[name] for name in near}
    for energy in (0, 1):
        mu = {name: pair[energy] for name, pair in ATTENUATION.items()}
        product = transmittance(near, mu) * transmittance(far, mu)
        np.testing.assert_allclose(transmittance(both, mu), product, atol=1e-6, rtol=1e-6)


def test_transmittance_without_materials_is_refused():
    with pytest.raises(ValueError, match="at least one material"):
        transmittance({}, {})


def test_a_tenth_of_a_millimetre_of_steel_passes_the_tabulated_share():
    # NIST, iron, 7.874 g/cm3: 8.176 cm2/g at 30 keV, 1.205 cm2/g at 60 keV
    grid = {"steel": np.full((1, 1), 0.1)}
    low, high = np.exp(-8.176 * 7.874 * 0.01), np.exp(-1.205 * 7.874 * 0.01)
    assert polychromatic_transmittance(grid, (1, 0))[0, 0] == pytest.approx(low, abs=1e-9)
    assert polychromatic_transmittance(grid, (0.25, 0.75))[0, 0] == pytest.approx(0.25 * low + 0.75 * high)


def test_two_energies_harden_the_beam():
    depth = [-np.log(polychromatic_transmittance({"steel": np.full((1, 1), t)})[0, 0]) for t in (0.5, 1.0)]
    assert depth[0] < depth[1] < 2 * depth[0]


def test_scatter_keeps_the_empty_beam_and_veils_the_dark():
    np.testing.assert_allclose(add_scatter(np.ones((40, 30)), 0.1, 0.15), 1, atol=1e-12)
    half = np.ones((40, 40))
    half[:, :20] = 0
    veiled = add_scatter(half, 0.1, 0.15)
    assert 0 < veiled[20, 2] < veiled[20, 17] < 0.1  # the veil grows towards the free beam
    assert veiled[20, 38] > 0.95


def test_noise_has_the_variance_of_counted_photons_and_of_the_electronics():
    detector = Detector(gain=120, scatter=0, blur=0.01, photons=400, read_noise=3)
    grey = expose(np.full((200, 200), 0.5), detector, generator()).astype(float)
    assert grey.mean() == pytest.approx(60, abs=0.2)
    # shot noise: 120 sqrt(0.5 / 400) = 4.243; rounding adds 1/12
    assert grey.std() == pytest.approx(np.sqrt(4.243**2 + 3**2 + 1 / 12), rel=0.03)


def test_exposure_stays_in_eight_bits():
    image = expose(np.full((20, 20), 1.2), Detector(gain=250, read_noise=5), generator())
    assert image.dtype == np.uint8
    assert image.max() == 255


# ---- shadows ----


def test_a_plate_has_its_thickness_inside_and_nothing_outside():
    plate = (Slab((rectangle(-2, -1, 2, 1),), "steel", 3.0),)
    expected = np.zeros((100, 100))
    expected[40:60, 30:70] = 3.0
    np.testing.assert_allclose(shadow(plate), expected, atol=1e-5)


def test_pixels_at_the_border_count_by_their_covered_share():
    plate = (Slab((rectangle(-2.05, -1.025, 2, 1),), "steel", 4.0),)  # half and a quarter pixel more
    covered = shadow(plate)
    assert covered[50, 29] == pytest.approx(2.0, abs=1e-5)
    assert covered[39, 50] == pytest.approx(1.0, abs=1e-5)
    assert covered[39, 29] == pytest.approx(0.5, abs=1e-5)


def test_a_tilted_plate_is_narrower_and_darker_and_keeps_its_volume():
    plate = (Slab((rectangle(-2, -1, 2, 1),), "steel", 0.1),)
    tilted = shadow(plate, rotation(0, np.pi / 3, 0))  # 60 degrees: cos = 1/2
    assert tilted[50, 50] == pytest.approx(0.2, abs=1e-5)
    assert np.flatnonzero(tilted[50] > 0.1).size == 20  # 4 mm at 10 px/mm, foreshortened to half
    assert tilted.sum() / 100 == pytest.approx(4 * 2 * 0.1, rel=1e-3)


def test_a_thick_block_shows_its_side_when_tilted():
    block = (Slab((rectangle(-1, -1, 1, 1),), "steel", 4.0),)
    turned = shadow(block, rotation(0, np.pi / 4, 0))
    # 2 x 4 mm seen at 45 degrees: (2 + 4) / sqrt(2) mm wide; its middle is 2 / sin(45) mm deep
    assert np.flatnonzero(turned[50] > 0.05).size == pytest.approx(42.4, abs=3)
    assert turned[50, 50] == pytest.approx(2 * np.sqrt(2), rel=0.1)
    assert turned.sum() / 100 == pytest.approx(2 * 2 * 4, rel=1e-3)


def test_holes_are_free_and_the_direction_of_an_outline_does_not_matter():
    outer, hole = ellipse(0, 0, 4), ellipse(0, 0, 2)
    ring = shadow((Slab((outer, hole), "steel", 1.0),))
    assert ring[50, 50] == pytest.approx(0, abs=1e-6)
    assert ring[50, 20] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(shadow((Slab((outer[::-1], hole), "steel", 1.0),)), ring, atol=1e-5)


def test_filling_agrees_with_a_finely_sampled_drawing():
    rng = generator(3)
    angle = np.linspace(0, 2 * np.pi, 17, endpoint=False)
    star = rng.uniform(0.8, 4.6, 17)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    mask = Image.new("L", (1600, 1600))
    ImageDraw.Draw(mask).polygon((star * 160 + 800).ravel().tolist(), fill=1)
    oracle = np.asarray(mask, float).reshape(100, 16, 100, 16).mean((1, 3))
    difference = np.abs(shadow((Slab((star,), "steel", 1.0),)) - oracle)
    assert difference.max() < 0.12  # the drawing itself rounds to 1/16 pixel
    assert difference.mean() < 0.003


def test_a_image_of_a_part_equals_the_part_of_the_image():
    solid = xray.THREATS["gun"](generator(1))
    turn = rotation(0.4, 0.5, 1.0)
    whole = project([Placed(solid, turn, ORIGIN)], View(120, 160, 0.5, np.zeros(2)))["steel"]
    part = project([Placed(solid, turn, ORIGIN)], View(60, 80, 0.5, np.zeros(2)))["steel"]
    np.testing.assert_allclose(part, whole[30:90, 40:120], atol=2e-3)


def test_a_rod_has_the_volume_of_a_cylinder_from_every_side():
    bar = rod((-3, 0), (3, 0), 1.0, "steel", slices=12)
    for tilt in (0.0, 0.6, 1.1):
        volume = shadow(bar, rotation(0.3, tilt, 0.9)).sum() / 100
        assert volume == pytest.approx(np.pi * 6, rel=0.02)


def test_a_bore_takes_away_and_never_more_than_there_is():
    bar = rod((-3, 0), (3, 0), 1.0, "steel")
    assert shadow(bar + rod((-3, 0), (3, 0), 0.5, "steel", sign=-1))[50, 50] < shadow(bar)[50, 50] - 0.8
    assert shadow(rod((-3, 0), (3, 0), 1.0, "steel", sign=-1)).max() == pytest.approx(0, abs=1e-9)


def test_a_wire_has_about_the_volume_of_a_thin_cylinder():
    for radius in (0.05, 0.15, 0.5):
        wire = (Wire(in_space(np.array([[-4.0, -2.0], [4.0, 3.0]])), radius, "copper"),)
        volume = shadow(wire, material="copper").sum() / 100
        assert volume == pytest.approx(np.pi * radius**2 * np.hypot(8, 5), rel=0.2)


def test_extent_is_the_box_of_the_shadow():
    plate = Placed(
        (Slab((rectangle(-2, -1, 2, 1),), "steel", 0.1),), rotation(np.pi / 2), np.array([5, 7, 0])
    )
    np.testing.assert_allclose(extent([plate]), [[4, 5], [6, 9]], atol=1e-9)


# ---- objects ----


@pytest.mark.parametrize("name", [*xray.THREATS, *xray.HARMLESS])
def test_every_object_casts_a_shadow_of_a_plausible_size(name):
    build = {**xray.THREATS, **xray.HARMLESS}[name]
    for seed in range(3):
        solid = build(generator(seed))
        box = extent([Placed(solid, UPRIGHT, ORIGIN)])
        assert 4 < np.ptp(box, axis=0).max() < 330, "mm"
        assert {part.material for part in solid} <= set(ATTENUATION)
        maps = project([Placed(solid, rotation(1, 0.5), ORIGIN)], View(64, 64, 60 / np.ptp(box), box.mean(0)))
        through = polychromatic_transmittance(maps)
        assert np.isfinite(through).all()
        assert 0 <= through.min() < 0.97
        assert through.max() <= 1


def test_shuriken_have_three_to_eight_points_with_and_without_a_hole():
    stars = [xray.THREATS["shuriken"](generator(seed))[0] for seed in range(60)]
    counts = []
    for star in stars:
        radius = np.hypot(*star.outlines[0].T)
        counts.append(int((radius > 0.999 * radius.max()).sum()))
    assert set(counts) == {3, 4, 5, 6, 7, 8}
    assert {len(star.outlines) == 1 for star in stars} == {True, False}


def test_razor_blades_are_thin_and_let_a_part_of_the_beam_through():
    for seed in range(10):
        plate = xray.THREATS["blade"](generator(seed))
        assert all(part.thickness < 1 for part in plate)
        assert 37 < np.ptp(extent([Placed(plate, UPRIGHT, ORIGIN)]), axis=0).max() < 65


# ---- crops ----


def test_a_crop_is_a_function_of_seed_class_series_and_index():
    first = xray.render_crop("gun", 4, 7, "baggage")
    xray._scene.cache_clear()
    np.testing.assert_array_equal(first, xray.render_crop("gun", 4, 7, "baggage"))
    others = [("gun", 5, 7, "baggage"), ("gun", 4, 8, "baggage"), ("gun", 4, 7, "clean")]
    for other in [*others, ("blade", 4, 7, "baggage")]:
        image = xray.render_crop(*other)
        assert image.shape != first.shape or (image != first).any(), other


def test_the_same_bytes_come_from_a_fresh_process():
    code = (
        "import hashlib; from tlkit.data.xray.crops import render_crop;"
        "print(hashlib.sha256(render_crop('other', 1, 2, 'baggage').tobytes()).hexdigest())"
    )
    here = hashlib.sha256(xray.render_crop("other", 1, 2, "baggage").tobytes()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == here


@pytest.mark.parametrize("label", xray.CLASSES)
def test_crops_are_grey_bright_where_free_and_of_the_wanted_size(label):
    for index in range(0, 9, 3):
        image = xray.render_crop(label, index, 1, "clean", 60, 80)
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert 60 <= max(image.shape) <= 80
        assert image.std() > 1


def test_threats_are_darker_than_their_clean_background():
    for label in ("gun", "shuriken", "blade"):
        for index in range(0, 12, 3):
            image = xray.render_crop(label, index, 0, "clean", 60, 80).astype(float)
            corner = np.percentile(image, 97)
            assert np.percentile(image, 3) < 0.85 * corner, (label, index)


def test_views_of_a_group_show_the_same_object_in_the_same_bag():
    scenes = [xray._scene("gun", index // xray.VIEWS, 0, "baggage") for index in range(xray.VIEWS + 1)]
    assert all(scene is scenes[0] for scene in scenes[: xray.VIEWS])
    assert scenes[xray.VIEWS] is not scenes[0]
    images = [xray.render_crop("gun", index, 0, "baggage", 60, 60) for index in range(xray.VIEWS)]
    assert len({image.tobytes() for image in images}) == xray.VIEWS


def test_baggage_lies_around_threats_and_does_not_hide_them():
    for number in range(6):
        scene = xray._scene("blade", number, 0, "baggage")
        assert len(scene.surroundings) >= 3
        view = View(96, 96, 48 / scene.radius, np.zeros(2))
        threat = polychromatic_transmittance(project([scene.subject], view)) < 0.95
        bag = polychromatic_transmittance(project(scene.surroundings, view))
        assert (bag[threat] < 0.1).mean() < 0.25
        assert bag.min() < 0.8
    assert xray._scene("blade", 0, 0, "clean").surroundings == ()


# ---- the set ----


@pytest.fixture(scope="module")
def small_set(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("xray") / "crops"
    xray.write_crops(folder, images_per_class=8, least_size=48, largest_size=64)
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_set_is_class_folders_of_grey_pngs_with_a_table(small_set):
    rows = read_rows(small_set)
    assert list(rows[0]) == ["path", "label", "group", "series"]
    files = sorted(path.relative_to(small_set).as_posix() for path in small_set.rglob("*.png"))
    assert sorted(row["path"] for row in rows) == files
    for row in rows:
        assert row["path"].startswith(f"{row['label']}/")
        with Image.open(small_set / row["path"]) as image:
            assert image.mode == "L"
    for label in xray.CLASSES:
        series = [row["series"] for row in rows if row["label"] == label]
        assert series == ["clean"] * 4 + ["baggage"] * 4


def test_a_group_is_one_object_of_one_class_and_series(small_set):
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in read_rows(small_set):
        groups.setdefault(row["group"], []).append((row["label"], row["series"]))
    assert all(len(set(members)) == 1 for members in groups.values())
    assert sorted(len(members) for members in groups.values()) == [xray.VIEWS] * (4 // xray.VIEWS) * 8


def test_a_larger_set_holds_the_smaller_one_byte_for_byte(small_set, tmp_path):
    xray.write_crops(tmp_path, images_per_class={"blade": 4, "other": 3}, least_size=48, largest_size=64)
    paths = [row["path"] for row in read_rows(tmp_path)]
    assert len(paths) == 7
    for path in paths:
        assert (tmp_path / path).read_bytes() == (small_set / path).read_bytes(), path
    assert not (tmp_path / "gun").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images_per_class": {"knife": 3}}, ["knife", "blade, gun, other, shuriken"]),
        ({"images_per_class": -1}, ["-1"]),
        ({"seed": -5}, ["-5", "from 0 up"]),
        ({"least_size": 90, "largest_size": 60}, ["90", "60"]),
        ({"least_size": 8}, ["8", "16 px"]),
    ],
)
def test_unfit_wishes_are_refused_before_anything_is_written(tmp_path, arguments, words):
    with pytest.raises(UsageFault) as fault:
        xray.write_crops(tmp_path / "crops", **arguments)
    assert all(word in str(fault.value) for word in words)
    assert not (tmp_path / "crops").exists()


def test_an_unknown_series_is_refused_by_name():
    with pytest.raises(UsageFault, match="luggage is no series"):
        xray.render_crop("gun", 0, 0, "luggage")


@pytest.mark.slow
def test_raw_pixels_are_neither_useless_nor_enough(tmp_path):
    """The honest difficulty of the default set: 1-nearest-neighbour on 24 x 24 pixels, 5 grouped splits."""
    xray.write_crops(tmp_path)
    rows = read_rows(tmp_path)
    pixels = np.stack([_thumbnail(tmp_path / row["path"]) for row in rows])
    labels, groups = (np.array([row[key] for row in rows]) for key in ("label", "group"))
    scores = []
    for seed in range(5):
        training, test = _grouped_split(labels, groups, seed)
        distance = ((pixels[test][:, None] - pixels[training][None]) ** 2).sum(2)
        scores.append((labels[training][distance.argmin(1)] == labels[test]).mean())
    assert 0.5 < np.mean(scores) < 0.85


def _thumbnail(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR), float).ravel()


def _grouped_split(labels, groups, seed):
    """Indices of training (60 %) and test (20 %), by group within each class."""
    rng, training, test = generator(seed), [], []
    for label in np.unique(labels):
        names = rng.permutation(np.unique(groups[labels == label]))
        training += list(names[: round(0.6 * len(names))])
        test += list(names[round(0.8 * len(names)) :])
    return np.flatnonzero(np.isin(groups, training)), np.flatnonzero(np.isin(groups, test))
