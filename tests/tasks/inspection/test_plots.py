"""Images of a network's inside: what is written and drawn is read back from the figures."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tlkit.engine.reporting.style import save, to_array
from tlkit.tasks.inspection import plots as draw
from tlkit.tasks.inspection.trace import Step


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text())


def drawn(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_filters_are_coloured_about_grey():
    kernels = np.zeros((3, 3, 3, 2))
    kernels[1, 1, :, 0] = (2, 0, -2)  # red, less blue
    figure = draw.filters(kernels, "conv1")
    first, second = drawn(figure)
    assert first[1, 1].tolist() == [1, 0.5, 0]
    assert (second == 0.5).all()
    assert drawn(draw.filters(kernels, "conv1", bgr=True))[0][1, 1].tolist() == [0, 0.5, 1]
    assert "What conv1 looks for\n3 × 3 × 3, all 2 filters" in words(figure)


def test_filters_of_other_channels_show_their_heaviest():
    kernels = np.zeros((2, 2, 5, 1))
    kernels[..., 3, 0] = 7
    assert (drawn(draw.filters(kernels, "conv"))[0] == 7).all()


def test_at_most_64_filters_and_32_maps_are_drawn():
    figure = draw.filters(noise(3, 3, 3, 96), "conv")
    assert len(drawn(figure)) == 64
    assert "64 of 96 filters" in words(figure)
    figure = draw.maps(noise(6, 6, 40), "block", "ReLU")
    assert len(drawn(figure)) == 32
    assert "ReLU, 6 × 6 × 40; 32 of 40 channels" in words(figure)


def test_maps_stand_by_how_much_they_vary_with_number_and_largest_value():
    values = np.zeros((4, 4, 3))
    values[0, 0] = (1, -8, 3)
    figure = draw.maps(values, "conv", "Conv2D")
    assert [image[0, 0] for image in drawn(figure)] == [-8, 3, 1]
    assert "1 · -8\n2 · 3\n0 · 1" in words(figure)


def test_rounding_errors_of_a_dead_filter_are_no_image():
    values = np.stack([noise(5, 5), 1e-9 * noise(5, 5)], axis=-1)
    alive, dead = drawn(draw.maps(values, "conv", "Conv2D"))
    assert alive.std() > 0.1
    assert not dead.any()


def test_zero_is_white_above_is_blue_and_below_is_red():
    values = np.zeros((3, 3, 1))
    values[0, 0], values[2, 2] = 1, -1
    (image,) = draw.maps(values, "conv", "Conv2D").axes[0].images
    colours = image.cmap(image.norm(values[..., 0]))[..., :3]
    np.testing.assert_allclose(colours[1, 1], 1, atol=0.02)
    assert colours[0, 0, 2] > colours[0, 0, 0]
    assert colours[2, 2, 0] > colours[2, 2, 2]


def test_features_without_places_are_bars():
    for shape in ((200,), (1, 1, 200)):
        figure = draw.maps(noise(*shape), "features", "Conv2D")
        assert f"Conv2D, {' × '.join(map(str, shape))}" in words(figure)
        assert len(figure.axes) == 1
        assert not drawn(figure)


@pytest.mark.parametrize("values", [np.zeros((5, 5, 2)), np.zeros((1, 1, 600)), noise(7, 3, 1), np.zeros(9)])
def test_odd_maps_can_be_drawn(values, tmp_path):
    image = to_array(draw.maps(values.astype(np.float32), "a/very/long" * 12, "Conv2D"))
    assert image.shape[1] == 800
    assert save(draw.maps(values, "x", "y"), tmp_path / "x.png").stat().st_size > 1000


def steps() -> list[Step]:
    return [
        Step(
            "convolution",
            "conv",
            "3 x 3 x 3",
            noise(8, 8, 3),
            noise(3, 3, 3),
            noise(8, 8),
            ((8, 8, 3), (8, 8, 4)),
        ),
        Step(
            "depthwise convolution",
            "dw",
            "3 x 3",
            noise(8, 8),
            np.eye(3),
            noise(8, 8),
            ((8, 8, 4), (8, 8, 4)),
        ),
        Step("activation", "relu", "relu", noise(8, 8), None, abs(noise(8, 8)), ((8, 8, 4), (8, 8, 4))),
        Step("activation", "swish", "silu", noise(8, 8), None, abs(noise(8, 8)), ((8, 8, 4), (8, 8, 4))),
        Step("pooling", "pool", "max of 2 x 2", noise(8, 8), None, noise(4, 4), ((8, 8, 4), (4, 4, 4))),
        Step("global pooling", "features", "", noise(4, 4), None, noise(300), ((4, 4, 300), (300,))),
        Step(
            "fully connected",
            "a new head",
            "random weights",
            noise(300),
            noise(300, 10),
            noise(10),
            ((300,), (10,)),
        ),
    ]


def test_the_walk_has_a_row_for_each_operation():
    figure = draw.walk(steps())
    text = words(figure)
    for line in (
        "Convolution\nconv, 3 x 3 x 3\n8 × 8 × 3  →  8 × 8 × 4",
        "Depthwise convolution\ndw, 3 x 3",
        "Activation\nrelu, relu",
        "What is negative becomes 0",
        "Each number is bent by itself.",
        "Pooling\npool, max of 2 x 2\n8 × 8 × 4  →  4 × 4 × 4",
        "Fully connected\na new head, random weights\n300  →  10",
    ):
        assert line in text, line
    assert len(figure.axes) == 2 * 7 + 3  # before and after, and three kernels
    assert text.count("∗") == 3
    assert text.count("1.0") == 3  # the weights of the depthwise kernel stand in it


def test_the_walk_shows_the_image_upright_in_colour():
    image = np.zeros((4, 4, 3))
    image[0, 0] = (0, 0, 1)
    step = Step("convolution", "conv", "", image, np.ones((1, 1, 3)), image[..., 0], ((4, 4, 3), (4, 4, 1)))
    assert drawn(draw.walk([step]))[0][0, 0].tolist() == [0, 0, 1]
    assert drawn(draw.walk([step], bgr=True))[0][0, 0].tolist() == [1, 0, 0]


def test_drawing_leaves_no_style_behind():
    before = dict(mpl.rcParams)
    draw.walk(steps())
    draw.filters(noise(3, 3, 3, 4), "conv")
    assert dict(mpl.rcParams) == before
