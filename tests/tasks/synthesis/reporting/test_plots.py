"""Sheets show the pictures they are given, pixel by pixel and in order; animations keep their frames."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tlkit.engine.reporting import style
from tlkit.engine.reporting.image_grid import NARROWEST, WIDEST, ImageGrid
from tlkit.tasks.synthesis.reporting import plots as draw
from tlkit.tasks.synthesis.reporting.curves import gan_curves


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32) / np.float32(255)


def saved(figure, folder):
    with Image.open(style.save(figure, folder / "a.png")) as image:
        return np.asarray(image.convert("RGB"))


def images_in(figure):
    """The arrays of a figure's pictures with the left and top of each, in pixels of the saved file."""
    height = figure.get_size_inches()[1] * style.SHARP
    width = figure.get_size_inches()[0] * style.SHARP
    found = []
    for axes in figure.axes:
        for image in axes.get_images():
            box = axes.get_position()
            found.append((round(box.x0 * width), round(height * (1 - box.y1)), np.asarray(image.get_array())))
    return found


def texts(figure):
    return [text.get_text() for text in figure.texts]


# --- pixel by pixel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3), (20, 1)])
def test_every_pixel_is_a_square_of_the_sheet(tmp_path, size, channels):
    reals, fakes = noise(3, size, size, channels), noise(3, size, size, channels, seed=1)
    figure = draw.reals_beside_fakes(reals, fakes)
    grid = saved(figure, tmp_path)
    shown = images_in(figure)
    assert len(shown) == 6
    times = 128 // size
    for (left, top, _), image in zip(shown, [*reals, *fakes], strict=True):
        drawn = grid[top : top + times * size, left : left + times * size].astype(int)
        expected = np.rint(image * 255).repeat(times, axis=0).repeat(times, axis=1)
        assert abs(drawn - expected).max() <= 1  # of 255: the colour table of greys has 256 entries


def test_tensorboard_sees_the_same_pixels(tmp_path):
    figure = draw.reals_beside_fakes(noise(2, 32, 32, 1), noise(2, 32, 32, 1))
    assert np.array_equal(style.to_array(figure), saved(figure, tmp_path))


def test_values_outside_are_clipped_and_greys_are_not_stretched(tmp_path):
    image = np.full((1, 32, 32, 1), 0.5, np.float32)
    image[0, 0, 0], image[0, 0, 1] = -3, 7
    figure = draw.reals_beside_fakes(image, image)
    left, top, _ = images_in(figure)[0]
    grid = saved(figure, tmp_path)
    assert [grid[top + 1, left + 4 * x + 1].tolist() for x in (0, 1, 2)] == [[0] * 3, [255] * 3, [128] * 3]


@pytest.mark.parametrize(("columns", "size"), [(1, 32), (8, 32), (16, 32), (8, 128), (4, 256), (8, 512)])
def test_a_sheet_is_never_too_wide_and_enlarges_by_whole_numbers(columns, size):
    grid = ImageGrid(2, columns, size)
    assert NARROWEST <= grid.width <= WIDEST
    last = grid.corner(1, columns - 1)
    assert last[0] + grid.side <= WIDEST
    assert last[1] + grid.side <= grid.height
    assert grid.side % size == 0 or grid.side < size


# --- what each sheet shows ---------------------------------------------------------------------------------


def test_reals_are_left_and_fakes_right():
    figure = draw.reals_beside_fakes(noise(9, 32, 32, 1), noise(5, 32, 32, 1), note="step 3")
    shown = images_in(figure)
    lefts = [left for left, _, _ in shown]
    assert len(shown) == 14
    assert max(lefts[:9]) < min(lefts[9:])
    assert {"Real and generated", "step 3", "real", "generated"} <= set(texts(figure))


def test_neighbours_are_sorted_and_copies_framed():
    fakes, training = noise(6, 32, 32, 1), noise(4, 32, 32, 1, seed=1)
    nearest, distances = np.array([3, 1, 0, 2, 2, 1]), np.array([5.0, 0.5, 3.0, 0.2, 4.0, 2.0])
    figure = draw.nearest_neighbours(fakes, training, nearest, distances, threshold=0.5, limit=5)
    shown = [array for _, _, array in images_in(figure)]
    assert len(shown) == 10
    for place, index in enumerate([3, 1, 5, 2, 4]):
        assert np.array_equal(shown[2 * place], fakes[index, ..., 0])
        assert np.array_equal(shown[2 * place + 1], training[nearest[index], ..., 0])
    framed = [any(spine.get_visible() for spine in axes.spines.values()) for axes in figure.axes]
    assert framed == [True, False] * 2 + [False] * 6
    said = texts(figure)
    assert "0.2 · copy" in said
    assert "2" in said
    assert any("the 5 nearest of 6" in text and "the 2 at most 0.5" in text for text in said)


def test_the_mixing_grid_has_sources_at_its_edges():
    rows, columns = noise(2, 32, 32, 3), noise(3, 32, 32, 3, seed=1)
    grids = {level: noise(2, 3, 32, 32, 3, seed=seed) for seed, level in enumerate(("coarse", "fine"), 2)}
    figure = draw.mixing_grid(rows, columns, grids)
    shown = images_in(figure)
    assert len(shown) == 3 + 2 * (2 + 6)
    top = min(top for _, top, _ in shown)
    left = min(left for left, _, _ in shown)
    assert [np.array_equal(array, columns[i]) for i, (_, y, array) in enumerate(shown) if y == top] == [
        True
    ] * 3
    sources = [array for x, _, array in shown if x == left]
    assert all(np.array_equal(array, rows[i % 2]) for i, array in enumerate(sources))
    assert len(sources) == 4
    assert np.array_equal(shown[3 + (1 + 3 + 1 + 3) + 1][2], grids["fine"][0, 0])
    assert {"coarse from B", "fine from B", "texture"} <= set(texts(figure))


def test_sweeps_strips_and_previews_show_all_in_rows():
    sweep = noise(3, 4, 32, 32, 1)
    figure = draw.truncation_sweep(sweep, [0, 0.5, 1])
    assert np.array_equal([array for _, _, array in images_in(figure)], sweep.reshape(12, 32, 32))
    assert {"0.00", "0.50", "1.00"} <= set(texts(figure))
    strip = noise(2, 5, 32, 32, 1)
    assert len(images_in(draw.interpolation_strip(strip))) == 10
    images, draws = noise(2, 32, 32, 1), noise(2, 3, 32, 32, 1)
    figure = draw.augmentation_preview(images, draws, note="translation")
    assert np.array_equal(images_in(figure)[4][2], images[1, ..., 0])
    assert np.array_equal(images_in(figure)[7][2], draws[1, 2, ..., 0])
    assert {"translation", "3 draws"} <= set(texts(figure))


def test_a_projection_shows_where_and_how_far_it_is_off(tmp_path):
    reals = noise(2, 32, 32, 1)
    found = reals.copy()
    found[0, 3, 5] = 1 - np.rint(found[0, 3, 5])
    figure = draw.projection(reals, found, np.geomspace(1, 0.01, 50)[None].repeat(2, axis=0))
    difference = images_in(figure)[2][2]
    assert np.argwhere(difference.min(axis=2) < 0.9).tolist() == [[3, 5]]
    assert [axes.get_title("left") for axes in figure.axes if axes.lines][1].endswith("off by 0.000")
    saved(figure, tmp_path)


def test_nothing_to_show_is_said():
    nothing, some = np.empty((0, 32, 32, 1), np.float32), noise(2, 32, 32, 1)
    assert "no images" in texts(draw.reals_beside_fakes(some, nothing))[0]
    empty = np.empty(0)
    assert "no generated image" in texts(draw.nearest_neighbours(nothing, some, empty.astype(int), empty))[0]
    assert "No step" in texts(gan_curves([]))[0]


# --- animation ---------------------------------------------------------------------------------------------


def frames_of(file):
    with Image.open(file) as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
        return np.stack(frames), film.info


def test_grey_animations_are_exact(tmp_path):
    frames = noise(5, 32, 32, 1)
    file = draw.write_animation(tmp_path / "new" / "a.gif", frames, milliseconds=50)
    found, about = frames_of(file)
    assert found.shape == (5, 256, 256, 3)
    assert np.array_equal(found[:, ::8, ::8], np.rint(frames * 255).astype(np.uint8).repeat(3, axis=3))
    assert np.array_equal(found[:, 7::8, 7::8], found[:, ::8, ::8])
    assert (about["duration"], about["loop"]) == (50, 0)


def test_colour_animations_are_near_and_do_not_flicker(tmp_path):
    still = noise(1, 32, 32, 3)
    frames = np.concatenate(
        [still, np.linspace(0, 1, 8 * 32 * 32 * 3, dtype=np.float32).reshape(8, 32, 32, 3), still]
    )
    found, _ = frames_of(draw.write_animation(tmp_path / "a.gif", frames))
    assert np.array_equal(found[0], found[-1])
    assert abs(found[:, ::8, ::8] / 255 - frames)[1:9].mean() < 0.05


# --- curves ------------------------------------------------------------------------------------------------


def rows():
    for step in range(1, 301):
        row = {
            "step": step,
            "critic_loss": 1.0,
            "generator_loss": 2.0,
            "sign_real": 0.5,
            "sign_fake": -0.5,
            "p": 0.1,
        }
        if step % 100 == 0:
            row |= {"kid": 1 / step, "kid_low": 0.5 / step, "kid_high": 2 / step, "sign_held_out": 0.2}
        yield row


def test_curves_have_a_panel_for_what_was_logged():
    figure = gan_curves(list(rows()))
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_visible()]
    assert titles[0] == "KID, 95 % interval · least 0.00333 at 300"
    assert len(titles) == 4
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["training, augmented", "held-out", "generated"]
    assert len(gan_curves([{"step": 1, "p": 0.5}, {"step": 2, "p": 0.6}]).axes) == 1


def test_the_band_is_the_interval():
    figure = gan_curves(list(rows()))
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(2 / 100)
    assert corners[:, 1].min() == pytest.approx(0.5 / 300)


def test_steps_that_diverged_are_left_out(tmp_path):
    broken = [
        *rows(),
        {"step": 301, "critic_loss": float("nan"), "kid": float("inf"), "generator_loss": None},
    ]
    figure = gan_curves(broken)
    assert figure.axes[0].get_title("left").endswith("at 300")
    saved(figure, tmp_path)
