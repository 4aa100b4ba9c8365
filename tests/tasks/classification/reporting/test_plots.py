"""Pictures: what is drawn is read back from the figure; that it is drawn at all, from its pixels."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tlkit.engine.reporting import charts, style
from tlkit.tasks.classification.reporting import plots

NAMES = ("blade", "gun", "other")


def words(figure: Figure) -> list[str]:
    """All that is written in a figure, also the legends."""
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def images(n: int, size: int = 8) -> np.ndarray:
    return np.stack([np.full((size, size, 3), 20 * index, np.uint8) for index in range(n)])


def answers(n: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, n)
    powers = np.exp(generator.normal(size=(n, classes)) + 2 * np.eye(classes)[labels])
    return labels, powers / powers.sum(axis=1, keepdims=True)


def epochs(n: int, phase: str = "head", **more) -> list[dict]:
    return [
        {"phase": phase, "epoch": epoch + 1, "training_loss": 1.0 / (epoch + 1), "validation_loss": 1.0}
        | more
        for epoch in range(n)
    ]


# --- confusion ---------------------------------------------------------------------------------------------


def test_confusion_writes_counts_and_shares_of_the_row():
    figure = charts.confusion_matrix(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 1234]]), NAMES)
    written = words(figure)
    assert {"3\n75 %", "1\n25 %", "1,234\n100 %", "1,238 images", *NAMES} <= set(written)
    assert not [text for text in written if text.startswith("0\n")]


def test_confusion_is_blue_where_right_and_red_where_wrong():
    colours = charts.confusion_matrix(np.array([[9, 1], [0, 5]]), "ab").axes[0].images[0].get_array()
    right, wrong, empty = colours[0, 0], colours[0, 1], colours[1, 0]
    assert right[2] > right[0] + 0.3
    assert wrong[0] > wrong[2] + 0.05
    assert empty[:3].tolist() == [1, 1, 1]


def test_99_7_percent_is_not_called_100():
    assert "299\n99.7 %" in words(charts.confusion_matrix(np.array([[299, 1], [0, 5]]), "ab"))


def test_three_confusions_stand_beside_each_other_in_order():
    parts = {
        part: np.eye(3, dtype=int) * count
        for part, count in (("training", 5), ("validation", 2), ("test", 1))
    }
    figure = charts.three_confusions(parts, NAMES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "training · 15 images",
        "validation · 6 images",
        "test · 3 images",
    ]
    style.to_array(figure)
    assert len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 1


def test_forty_classes_keep_all_names_at_a_readable_size():
    figure = charts.confusion_matrix(np.eye(40, dtype=int) * 7, [f"class {index}" for index in range(40)])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"class {index}" for index in range(40)]
    assert min(label.get_fontsize() for label in axes.get_yticklabels()) >= 7
    assert figure.get_size_inches()[0] == style.WIDTH


def test_a_thousand_classes_thin_their_names_out():
    figure = charts.confusion_matrix(np.eye(1000, dtype=int), [str(index) for index in range(1000)])
    assert 20 <= len(figure.axes[0].get_yticklabels()) <= 60


# --- curves ------------------------------------------------------------------------------------------------


def test_curves_count_epochs_over_phases_and_mark_the_best():
    rows = epochs(3) + epochs(2, "all", best=True)
    figure = charts.learning_curves(rows)
    loss = figure.axes[0]
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert loss.lines[0].get_ydata().tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1, 1 / 2])
    assert {"head", "all", "Loss", "Accuracy", "best: epoch 5"} <= set(words(figure))


def test_an_epoch_trained_twice_counts_once_with_its_last_row():
    rows = [*epochs(2), {"phase": "head", "epoch": 2, "training_loss": 7.0, "validation_loss": None}]
    lines = charts.learning_curves(rows).axes[0].lines
    assert lines[0].get_ydata().tolist() == [1.0, 7.0]
    np.testing.assert_array_equal(lines[1].get_ydata(), [1.0, np.nan])


@pytest.mark.parametrize(
    "rows", [[], [{}], epochs(1), [{"phase": "head", "epoch": 1, "training_loss": None}]]
)
def test_curves_of_hardly_anything(rows):
    assert style.to_array(charts.learning_curves(rows)).ndim == 3


# --- calibration, ROC, counts ------------------------------------------------------------------------------


def test_reliability_draws_the_bins_and_names_the_errors():
    labels, before = np.array([0, 1, 1, 1]), np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    figure = plots.reliability(labels, before, before, 1.5)
    # Bins: ]0.867, 0.933] three answers, two right; one at 0.6, right. ECE = 3/4 x |2/3 - 0.9| + 1/4 x 0.4
    written = words(figure)
    assert "As trained · ECE 27.5 points" in written
    assert "With temperature 1.50 · ECE 27.5 points" in written
    shares = figure.axes[0].containers[0].datavalues
    assert np.nanmax(shares) == pytest.approx(2 / 3)


def test_roc_names_every_class_with_its_area():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])
    written = words(plots.roc_curves(labels, probabilities, ("gun", "other")))
    assert {"gun  AUC 0.750", "other  AUC 0.750"} <= set(written)


def test_roc_of_many_classes_names_the_worst():
    labels, probabilities = answers(600, 20)
    areas = [
        text
        for text in words(plots.roc_curves(labels, probabilities, list(map(str, range(20)))))
        if "AUC" in text
    ]
    assert len(areas) == 8
    assert areas == sorted(areas, key=lambda text: float(text.split()[-1]))


def test_roc_of_one_class_says_why_there_is_none():
    written = words(plots.roc_curves(np.zeros(3, int), np.eye(2)[[0, 0, 1]], "ab"))
    assert written == ["A ROC curve needs images of at least two classes."]


def test_counts_add_up():
    figure = charts.class_counts({"training": {"a": 10, "b": 5}, "test": {"b": 2}})
    assert {"10", "7", "a", "b", "training", "test"} <= set(words(figure))
    bars = [container.datavalues.tolist() for container in figure.axes[0].containers]
    assert bars == [[10, 5], [0, 2]]


# --- images ------------------------------------------------------------------------------------------------


def test_grid_shows_every_image_with_its_title():
    figure = plots.image_grid(images(11), [f"image {index}" for index in range(11)], columns=4)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(np.stack(shown), images(11))
    assert words(figure) == [f"image {index}" for index in range(11)]


def test_titles_lie_inside_the_image_and_below_their_image():
    figure = plots.image_grid(images(7), ["first line\nsecond line\nthird"] * 7, columns=3)
    style.to_array(figure)
    whole = figure.bbox
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.y1 <= axes.bbox.y0 + 1
            assert box.y0 >= whole.y0 - 1
            assert box.x0 >= whole.x0 - 1
            assert box.x1 <= whole.x1 + 1


def test_mistakes_say_what_was_said_and_what_it_is():
    figure = plots.mistakes(
        images(3),
        ["blade", "gun", "other"],
        ["gun", "other", "gun"],
        [0.9, 0.7, 0.6],
        [f"folder/{index}.png" for index in range(3)],
    )
    assert [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes] == [0, 20, 40]
    assert words(figure)[:3] == ["says gun, 90 %", "is blade", "0.png"]


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: plots.image_grid(images(1)[:0]), "There is no image to show."),
        (lambda: plots.heat_maps(images(1)[:0], np.zeros((0, 2, 2))), "There is no image to show."),
        (lambda: charts.class_counts({}), "There are no images."),
        (lambda: charts.three_confusions({}, NAMES), "No part of the data was measured."),
        (lambda: charts.learning_curves([]), "No epoch was finished."),
    ],
)
def test_nothing_to_draw_is_said(draw, sentence):
    assert words(draw()) == [sentence]


def test_overlay_is_grey_where_cold_and_coloured_where_hot():
    image = np.full((40, 60, 3), 100, np.uint8)
    heat = np.zeros((4, 6))
    heat[:, :3] = 1.0
    found = plots.overlay(image, heat).astype(int)
    assert found.shape == (40, 60, 3)
    assert np.ptp(found[20, 55]) == 0  # cold: no colour
    assert found[20, 5, 0] - found[20, 5, 2] > 80  # hot: yellow


def test_heat_maps_frame_right_answers_green_and_wrong_ones_red():
    figure = plots.heat_maps(images(2), np.random.default_rng(0).random((2, 7, 7)), ["x", "y"], [True, False])
    colours = [mpl.colors.to_hex(axes.spines["left"].get_edgecolor()) for axes in figure.axes]
    assert colours == [style.GREEN, style.RED]


# --- manners -----------------------------------------------------------------------------------------------


def test_names_of_any_kind_are_drawn_without_a_warning(tmp_path):
    hostile = ("$\\frac{$", "名前\n二", "x" * 300)
    labels, probabilities = answers()
    for figure in (
        charts.confusion_matrix(np.eye(3, dtype=int), hostile),
        plots.roc_curves(labels, probabilities, hostile),
        plots.image_grid(images(3), hostile),
        charts.class_counts({"training": dict.fromkeys(hostile, 3)}),
    ):
        style.save(figure, tmp_path / "picture.png")


LONG = ("x" * 40,) * 9
SQUARE = np.eye(4, dtype=int) * 9 + 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.three_confusions(dict.fromkeys("abc", SQUARE), ("blade", "gun", "other", "shuriken")),
        lambda: charts.three_confusions(dict.fromkeys("abc", np.eye(9, dtype=int)), LONG),
        lambda: charts.confusion_matrix(SQUARE, LONG[:4]),
        lambda: charts.learning_curves(epochs(3) + epochs(2, "all", best=True)),
        lambda: plots.reliability(*answers(), answers()[1], 1.0),
        lambda: plots.roc_curves(*answers(60, 9), LONG),
        lambda: charts.class_counts({"training": dict.fromkeys(NAMES, 12345)}),
    ],
)
def test_nothing_is_cut_off_at_the_border(draw):
    ink = (style.to_array(draw()) < 240).any(axis=2)
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    assert not border.any()


def test_save_makes_the_folder_and_to_array_gives_pixels(tmp_path):
    figure = charts.confusion_matrix(np.eye(3, dtype=int), NAMES)
    path = style.save(figure, tmp_path / "new" / "confusion.png")
    with Image.open(path) as image:
        assert image.size[0] == round(figure.get_size_inches()[0] * 150)
        assert "Software" not in image.info
    pixels = style.to_array(figure)
    assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 3)
    assert pixels.shape[1] == figure.get_size_inches()[0] * 100
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # something was drawn


def test_the_style_is_taken_back_and_pyplot_holds_no_figure():
    before = dict(mpl.rcParams)
    style.to_array(plots.image_grid(images(2)))
    assert dict(mpl.rcParams) == before
    from matplotlib import pyplot as plt

    assert plt.get_fignums() == []
