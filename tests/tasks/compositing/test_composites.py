"""Superimposition: products by hand, boxes by plain counting, cut-outs whose truth was drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tlkit.data.xray import transmittance as compositing
from tlkit.data.xray.surroundings import DENSE, surroundings
from tlkit.data.xray.transmittance import (
    SEEN,
    Threat,
    background_level,
    box_of,
    cut_threat,
    lay,
    occlusion,
    pose,
    transmittance,
)
from tlkit.errors import UsageFault
from tlkit.tasks.compositing import clutter
from tlkit.tasks.compositing.clutter import composite_crops
from tlkit.tasks.compositing.composites import composite_threats
from tlkit.tasks.compositing.settings import CLUTTER, ClutterSettings, CompositeSettings


def star(size=90, i0=0.9, inside=0.05, noise=0.0, slope=0.0):
    """A clean crop: a dark plus sign with a hole in it, and the truth of where it is."""
    y, x = np.mgrid[:size, :size] - size // 2
    truth = (np.minimum(abs(x), abs(y)) < size // 12) & (np.maximum(abs(x), abs(y)) < size // 3)
    truth &= x**2 + y**2 >= (size // 18) ** 2
    image = np.where(truth, inside, 1.0) * i0 * (1 + slope * x / size)
    image = image + np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(image, 0, 1).astype(np.float32), truth


def bag(height=80, width=120, i0=0.8, seed=0):
    """A background: free beam around a smooth translucent block."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width), i0, np.float32)
    through = 0.4 + 0.3 * ndimage.gaussian_filter(generator.random((height, width)), 6)
    image[8:-8, 8:-8] *= through[8:-8, 8:-8]
    return image.astype(np.float32)


def place(threat, background, position=None, i0=None, **posed):
    """A threat posed and pasted into a background."""
    return lay(pose(threat, **posed), background, position, i0)


# ---- transmittance ----


def test_the_level_of_the_free_beam_is_a_mode_and_no_maximum():
    generator = np.random.default_rng(1)
    image = generator.normal(0.8, 0.004, (100, 100))
    image[:60] = generator.uniform(0.1, 0.6, (60, 100))
    image[0, :30] = 1.0  # a label printed into the image: 0.3 % of it
    assert background_level(image) == pytest.approx(0.8, abs=0.004)
    assert background_level(np.zeros((9, 9))) == 1.0
    assert background_level(np.full((9, 9), 0.5)) == pytest.approx(0.5, abs=1e-6)


def test_transmittance_is_the_share_of_the_free_beam():
    image = np.array([[0.8, 0.4, 0.0, 0.9]], np.float32)
    np.testing.assert_allclose(transmittance(image, 0.8), [[1, 0.5, compositing.LEAST, 1]], atol=1e-7)
    assert transmittance(image, 0.8).dtype == np.float32


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_a_threat_is_cut_out_with_its_holes_and_nothing_around_it(noise):
    image, truth = star(noise=noise, slope=0.04)
    image[3:5, 3:5] = 0.3  # dirt, far below 1 % of the threat
    threat = cut_threat(image)
    left, top, right, bottom = box_of(truth)
    np.testing.assert_array_equal(threat.mask, truth[top - 1 : bottom + 1, left - 1 : right + 1])
    assert (threat.transmittance[~threat.mask] == 1).all()
    assert np.median(threat.transmittance[threat.mask]) == pytest.approx(0.05, abs=0.005)


def test_a_translucent_edge_belongs_to_the_threat():
    image = np.full((60, 60), 0.9, np.float32)
    image[20:40, 20:40] = 0.05
    image[20:40, 40:50] = 0.75  # a thin panel beside the dense part, above Otsu's threshold
    assert box_of(np.pad(cut_threat(image).mask, 19)[: -19 or None])[2] - 1 >= 0
    assert cut_threat(image).mask.sum() == 20 * 30


def test_small_holes_are_noise_and_large_ones_are_not():
    image = np.full((60, 60), 0.9, np.float32)
    image[10:50, 10:50] = 0.1
    image[20, 20] = 0.9
    image[30:38, 30:38] = 0.9
    assert cut_threat(image).mask.sum() == 1600 - 64


def test_an_empty_crop_gives_no_threat():
    threat = cut_threat(np.full((20, 30), 0.7, np.float32))
    assert not threat.mask.any()
    assert (threat.transmittance == 1).all()
    assert box_of(threat.mask) == (0, 0, 0, 0)


# ---- pose ----


def test_a_pose_of_nothing_changes_nothing():
    threat = cut_threat(star()[0])
    np.testing.assert_allclose(pose(threat), threat.transmittance, atol=1e-6)


def test_thickness_is_a_power_and_a_quarter_turn_is_exact():
    threat = cut_threat(star()[0])
    thick = pose(threat, thickness=2, flip=True)
    np.testing.assert_allclose(thick, threat.transmittance[:, ::-1] ** 2, atol=1e-6)
    turned = pose(threat, turn=90)
    inner = np.rot90(threat.transmittance)
    assert abs(turned.shape[0] - inner.shape[0]) <= 2
    rows, columns = (slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(turned.shape, inner.shape))
    if turned.shape == inner.shape:
        np.testing.assert_allclose(turned[rows, columns], inner, atol=1e-4)


def test_turning_is_counter_clockwise():
    through = np.ones((21, 41), np.float32)
    through[8:13, 2:39] = 0.2
    through[3:8, 34:39] = 0.2  # a flag up at the right end
    posed = pose(Threat(through, through < 1), turn=90)  # the right end goes up, the flag to the left
    height, width = posed.shape
    assert height > width
    top_left, bottom_left = posed[: height // 3, : width // 3], posed[-height // 3 :, : width // 3]
    assert top_left.min() < 0.3
    assert bottom_left.min() > 0.9


def test_shrinking_adds_photons_and_not_attenuations():
    """Stripes of steel and air, one pixel each: half of the beam arrives, whatever the steel's attenuation."""
    through = np.ones((64, 64), np.float32)
    through[:, ::2] = 1e-3
    small = pose(Threat(through, through < 1), scale=0.25)
    assert np.median(small) == pytest.approx(0.5005, abs=0.01)  # exp(-mean attenuation) would be 0.03


def test_scaling_keeps_the_photons_taken():
    threat = cut_threat(star(180)[0])
    taken = float((1 - threat.transmittance).sum())
    for scale in (0.3, 0.55, 1.0, 1.7):
        posed = pose(threat, turn=33, scale=scale)
        assert float((1 - posed).sum()) == pytest.approx(taken * scale**2, rel=0.03)


# ---- composites ----


def test_transmittances_multiply_to_a_millionth():
    threat, background = cut_threat(star(40)[0]), bag()
    i0 = background_level(background)
    composite = place(threat, background, thickness=1.2, position=(60.0, 40.0), i0=i0)
    style = np.ones(background.shape)
    height, width = threat.mask.shape
    top, left = 40 - height // 2, 60 - width // 2
    style[top : top + height, left : left + width] = threat.transmittance.astype(float) ** 1.2
    expected = transmittance(background, i0).astype(float) * style
    found = composite.image.astype(float) / i0
    np.testing.assert_allclose(np.minimum(found, 1), expected, atol=1e-6)


def test_two_threats_multiply_in_any_order():
    first, second, background = cut_threat(star(40)[0]), cut_threat(star(30, inside=0.6)[0]), bag()
    one = place(second, place(first, background, position=(50, 40)).image, position=(60, 44))
    two = place(first, place(second, background, position=(60, 44)).image, position=(50, 40))
    np.testing.assert_allclose(one.image, two.image, atol=1e-6)


def test_the_box_is_that_of_the_pixels_that_changed():
    background = bag()
    for seed in range(8):
        generator = np.random.default_rng(seed)
        threat = cut_threat(star(70, inside=0.5)[0])
        composite = place(
            threat,
            background,
            turn=float(generator.uniform(0, 360)),
            scale=float(generator.uniform(0.3, 0.9)),
            position=(float(generator.uniform(0, 120)), float(generator.uniform(0, 80))),
        )
        changed = composite.image <= background * (1 - SEEN) + 1e-7
        rows, columns = np.nonzero(changed)
        assert composite.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_array_equal(composite.mask, changed)
        untouched = ~ndimage.binary_dilation(composite.mask, iterations=3)
        np.testing.assert_array_equal(composite.image[untouched], background[untouched])


def test_a_threat_beyond_the_border_is_cut_off_or_absent():
    threat, background = cut_threat(star(40)[0]), bag()
    assert place(threat, background, position=(0.0, 40.0)).box[0] == 0
    gone = place(threat, background, position=(500.0, 40.0))
    assert (gone.box, gone.occlusion) == ((0, 0, 0, 0), 0.0)
    np.testing.assert_array_equal(gone.image, background)


def test_occlusion_is_the_share_of_the_beam_that_other_matter_takes():
    mask = np.array([[True, True, False]])
    assert occlusion(mask, np.array([[1.0, 0.5, 0.0]])) == 0.25
    assert occlusion(mask, np.array([[0.0, 0.0, 1.0]])) == 1
    background = np.full((60, 60), 0.8, np.float32)
    threat = cut_threat(star(40)[0])
    assert place(threat, background).occlusion == pytest.approx(0, abs=1e-6)
    assert place(threat, background * 0.25, i0=0.8).occlusion == pytest.approx(0.75, abs=1e-6)


def test_sixteen_bits_stay_sixteen_bits():
    steps = (20000 + np.arange(60 * 60) % 300).reshape(60, 60)
    background = (steps / 65535).astype(np.float32)
    found = place(cut_threat(star(40)[0]), background, position=(20.0, 20.0), i0=0.8).image
    outside = np.s_[45:, 45:]
    np.testing.assert_array_equal(np.rint(found[outside].astype(float) * 65535), steps[outside])


# ---- whole bags ----


def threats():
    return {"blade": [star(60, inside=0.6)[0]], "gun": [star(120)[0], star(100)[0]]}


def test_composites_of_bags_are_products_with_exact_boxes():
    bags = [bag(200, 260, seed=s) for s in range(3)]
    found = list(paste(threats(), bags, count=20, per_bag=(1, 3), seed=4))
    assert len(found) == 20
    assert {label for one in found for label in one.labels} == {"blade", "gun"}
    assert {one.bag for one in found} == {0, 1, 2}
    for one in found:
        changed = one.image <= bags[one.bag] * (1 - SEEN) + 1e-7
        union = np.zeros_like(changed)
        for left, top, right, bottom in one.boxes.astype(int):
            union[top:bottom, left:right] = True
            assert changed[top:bottom, left].any()
            assert changed[top:bottom, right - 1].any()
            assert changed[top, left:right].any()
            assert changed[bottom - 1, left:right].any()
        assert not (changed & ~union).any()
        assert len(one.boxes) == len(one.labels) == len(one.threats)
        assert all(0 <= threat.occlusion <= 1 for threat in one.threats)
        assert all(t.crop < len(threats()[t.label]) for t in one.threats)


def paste(threats, bags, *, count, seed=0, objects=None, **settings):
    """Composites of which none is left empty, where nothing else is said."""
    settings = CompositeSettings(**{"empty": 0.0, **settings})
    return composite_threats(threats, bags, settings, count=count, seed=seed, objects=objects)


def test_a_composite_depends_on_seed_and_number_only():
    bags = [bag(200, 260)]
    few = list(paste(threats(), bags, count=3, seed=1))
    many = list(paste(threats(), bags, count=5, seed=1))
    for one, other in zip(few, many[:3], strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.threats == other.threats
    others = list(paste(threats(), bags, count=3, seed=2))
    assert any(a.threats != b.threats for a, b in zip(few, others, strict=True))


def test_no_threat_is_laid_where_nobody_could_see_it():
    dark = np.full((200, 260), 0.9, np.float32)
    dark[10:-10, 10:-10] = 0.02
    assert all(not one.labels for one in paste(threats(), [dark], count=4))
    empty = next(iter(paste(threats(), [bag(200, 260)], count=1, per_bag=(0, 0))))
    assert empty.boxes.shape == (0, 4)
    np.testing.assert_array_equal(empty.image, bag(200, 260))


def test_every_bag_is_taken_equally_often_and_some_stay_empty():
    bags = [bag(200, 260, seed=s) for s in range(5)]
    found = list(paste(threats(), bags, count=40, empty=0.5, seed=2))
    assert [sum(one.bag == number for one in found) for number in range(5)] == [8] * 5
    assert 10 <= sum(not one.labels for one in found) <= 30
    for one in found:
        np.testing.assert_array_equal(one.image, bags[one.bag] * one.through)
        assert one.i0 == pytest.approx(0.8, abs=0.01)
        assert bool(one.labels) == bool((one.through < 1).any())


def test_what_lies_in_a_bag_already_goes_on_showing():
    there = np.array([[60, 40, 220, 170]], np.float32)  # most of the bag
    apart = list(paste(threats(), [bag(200, 260)], count=30, seed=3, objects=[there]))
    anywhere = list(paste(threats(), [bag(200, 260)], count=30, seed=3))

    def covered(found):
        window = [one.through[40:170, 60:220] < 1 - SEEN for one in found]
        return [
            mask.sum() / max((one.through < 1 - SEEN).sum(), 1)
            for mask, one in zip(window, found, strict=True)
        ]

    assert max(covered(apart)) <= 0.4 + 1e-6  # 1 - LEAST_SHOWN of each threat, and so of all of them
    assert max(covered(anywhere)) > 0.8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threats": {}}, "no crops of any threat"),
        ({"threats": {"gun": []}}, "no crops of gun"),
        ({"threats": {"gun": [np.full((9, 9), 0.5, np.float32)]}}, "shows nothing"),
        ({"bags": []}, "no bags"),
        ({"count": -1}, "-1 composites"),
        ({"per_bag": (2, 1)}, "2 to 1 threats"),
        ({"thickness": (0.0, 1.0)}, "0 to 1"),
    ],
)
def test_wishes_for_bags_that_cannot_be_are_refused(changes, words):
    wish = {"threats": threats(), "bags": [bag()], "count": 1, **changes}
    with pytest.raises(UsageFault, match=words):
        paste(wish.pop("threats"), wish.pop("bags"), **wish)


# ---- crops ----


@pytest.fixture(scope="module")
def crops():
    clean = {"blade": [star(60, inside=0.6)[0]], "shuriken": [star(100)[0]]}
    others = [bag(50, 70, seed=s) for s in range(3)]
    return {kind: composite_crops(clean, others, ClutterSettings(3, 2, 64, kind), seed=5) for kind in CLUTTER}


@pytest.mark.parametrize("kind", CLUTTER)
def test_crops_are_counted_labelled_and_traceable(crops, kind):
    assert [one.label for one in crops[kind]] == ["blade"] * 3 + ["shuriken"] * 3 + ["other"] * 6
    for one in crops[kind]:
        assert one.image.dtype == np.float32
        assert max(one.image.shape) == 64
        assert 0 <= one.image.min() < one.image.max() <= 1
        assert one.threat[:2] == ("" if one.label == "other" else one.label, 0)
        assert all(0 <= number < 3 for number in one.others)
        assert one.others or one.simulated
        assert bool(one.others) or kind != "others"
        assert one.simulated or kind != "simulated"


def test_more_copies_only_add_images(crops):
    clean = {"blade": [star(60, inside=0.6)[0]], "shuriken": [star(100)[0]]}
    others = [bag(50, 70, seed=s) for s in range(3)]
    blade, shuriken = composite_crops(clean, others, ClutterSettings(1, 0, 64), seed=5)
    assert (blade.label, shuriken.label) == ("blade", "shuriken")
    np.testing.assert_array_equal(blade.image, crops["both"][0].image)
    np.testing.assert_array_equal(shuriken.image, crops["both"][3].image)


def test_clutter_needs_no_other_crops_and_empty_crops_give_nothing():
    clean = {"gun": [star(80)[0], np.full((40, 40), 0.7, np.float32)]}
    made = composite_crops(clean, [], ClutterSettings(6, 0.5, 48))
    assert [one.label for one in made] == ["gun"] * 6 + ["other"] * 3
    assert all(one.simulated and not one.others for one in made)
    assert {one.threat[:2] for one in made} == {("gun", 0), ("", 0)}


def test_a_threat_in_clutter_stays_visible(crops):
    for one in crops["both"]:
        assert one.threat.occlusion <= 1 - clutter.LEAST_SEEN + 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clutter": "confetti"}, "confetti is no kind"),
        ({"clutter": "others", "others": []}, "needs crops"),
        ({"copies": -1}, "-1 copies"),
        ({"size": 8}, "8 px"),
    ],
)
def test_crops_that_cannot_be_made_are_refused(changes, words):
    wish = {"others": [bag()], **changes}
    with pytest.raises(UsageFault, match=words):
        composite_crops({"gun": [star()[0]]}, wish.pop("others"), ClutterSettings(**wish))


@pytest.mark.real
def test_real_clean_threats_are_cut_out_whole(real_data):
    """Every clean crop of the seed's contest shows one threat that fills most of its own box."""
    for label, series, share in (("gun", "B0049", 0.6), ("shuriken", "B0050", 0.3), ("blade", "B0051", 0.2)):
        files = sorted((real_data / "threats" / label).glob(f"{series}_*.jpg"))[::20]
        assert files
        for file in files:
            image = np.asarray(Image.open(file).convert("L"), np.float32) / 255
            threat = cut_threat(image)
            assert max(threat.mask.shape) > share * max(image.shape), file.name
            assert ndimage.label(threat.mask, np.ones((3, 3)))[1] <= 3, file.name
            assert (threat.transmittance[~threat.mask] == 1).all()


def test_simulated_surroundings_leave_what_must_be_seen():
    keep = np.zeros((60, 80), bool)
    keep[20:40, 25:55] = True
    for seed in range(10):
        through = surroundings(np.random.default_rng(seed), keep.shape, 0.5, keep, 0.1)
        assert through.shape == keep.shape
        assert 0 < through.min() < through.max() <= 1
        free = surroundings(np.random.default_rng(seed), keep.shape, 0.5)
        hidden, freely = ((t[keep] < DENSE).mean() for t in (through, free))
        assert hidden <= max(0.1, freely)
    sums = [surroundings(np.random.default_rng(s), (40, 40), 0.5).mean() for s in range(10)]
    assert np.std(sums) > 0.02
