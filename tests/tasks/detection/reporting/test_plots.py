"""Pictures of detections: what they show is read back from the figure."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from tlkit.data.boxes.dataset import read_boxes
from tlkit.engine.reporting import style
from tlkit.errors import DataFault
from tlkit.tasks.detection.detections import Detections
from tlkit.tasks.detection.reporting import plots as shown

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))


@pytest.fixture
def case(tmp_path):
    """Three bags: one well, one with a miss and a false alarm, one empty and left in peace."""
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)).save(
            tmp_path / name
        )
    (tmp_path / "boxes.csv").write_text(
        "image,left,top,right,bottom,class,difficult\n"
        "a.png,10,20,30,40,gun,0\na.png,60,20,80,40,gun,1\nb.png,10,20,30,40,knife,0\nc.png,,,,,,\n"
    )
    guns = np.zeros(2, np.int32)
    found = [
        Detections(
            np.array([[10, 20, 30, 40], [60, 20, 80, 40]], np.float32), np.array([0.9, 0.8], np.float32), guns
        ),
        Detections(
            np.array([[50, 5, 90, 55], [1, 1, 3, 3]], np.float32), np.array([0.7, 0.1], np.float32), guns
        ),
        NOTHING,
    ]
    return read_boxes(tmp_path), found


def frames(axes):
    """(colour, left, top, width, height) of each coloured frame."""
    boxes = [p for p in axes.patches if isinstance(p, Rectangle) and to_hex(p.get_edgecolor()) != "#ffffff"]
    return [(to_hex(p.get_edgecolor()), *p.get_xy(), p.get_width(), p.get_height()) for p in boxes]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_hits_misses_false_alarms_and_difficult_ones_have_their_colours(case):
    truth, found = case
    figure = shown.beside_truth(truth, {"ours": (found, 0.5)}, [0, 1])
    first, ours, second_truth, second = figure.axes
    assert [f[0] for f in frames(first)] == [style.BLUE, style.MUTED]
    assert frames(ours) == [(style.MUTED, 59.5, 19.5, 20, 20), (style.GREEN, 9.5, 19.5, 20, 20)]
    assert texts(ours) == ["gun 0.80", "gun 0.90"]
    assert [f[0] for f in frames(second_truth)] == [style.BLUE]
    assert frames(second) == [(style.ORANGE, 9.5, 19.5, 20, 20), (style.RED, 49.5, 4.5, 40, 50)]
    assert texts(second) == ["knife", "gun 0.70"]
    assert ours.get_title(loc="left") == "ours from 0.50"
    assert style.to_array(figure).shape[1] == 533  # two of three columns' room, and no empty third
    assert style.to_array(shown.beside_truth(truth, dict.fromkeys("abc", (found, 0.5)), [0])).shape[1] == 800


@pytest.mark.parametrize(("detectors", "columns", "rows"), [(4, 5, 1), (5, 3, 2), (7, 4, 2), (10, 4, 3)])
def test_more_than_four_detectors_take_several_rows_of_an_image(case, detectors, columns, rows):
    truth, found = case
    figure = shown.beside_truth(truth, {str(n): (found, 0.5) for n in range(detectors)}, [0, 1])
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 2 * (1 + detectors)
    assert figure.axes[0].get_gridspec().get_geometry() == (2 * rows, columns)
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles[: 1 + detectors] == ["truth", *(f"{n} from 0.50" for n in range(detectors))]
    assert titles[1 + detectors] == (
        "truth" if rows > 1 else ""
    )  # each row's own where they are not in columns
    assert texts(panels[2 * detectors + 1])[0] == "knife"  # the last detector too has the second image


def test_boxes_follow_a_image_that_is_shown_smaller(case, tmp_path):
    Image.new("RGB", (1300, 780)).save(tmp_path / "a.png")  # 13 times as large
    truth = read_boxes(tmp_path)
    figure = shown.beside_truth(truth, {}, [0])
    scale = 640 / 1300
    left, top = 10 * scale - 0.5, 20 * scale - 0.5
    np.testing.assert_allclose(frames(figure.axes[0])[0][1:], (left, top, 20 * scale, 20 * scale), rtol=1e-6)


def test_the_worst_come_first_and_the_good_not_at_all(case):
    truth, found = case
    assert shown.worst(truth, found, 0.5) == [1]
    assert shown.worst(truth, found, 0.95) == [0, 1]
    assert shown.worst(truth, found, 0.0, limit=1) == [1]
    figure = shown.worst_images(truth, found, 0.5)
    assert figure.axes[0].get_xlabel() == "b.png"
    assert len(figure.axes[0].images) == 1
    quiet = shown.worst_images(truth.take([0, 2]), found[::2], 0.5)
    assert "Nothing is missed" in quiet.texts[0].get_text()


def test_a_crowd_names_only_false_alarms(case):
    truth, _ = case
    many = np.array([[x, y, x + 8, y + 8] for x in range(0, 90, 10) for y in (0, 20)], np.float32)
    scores = np.linspace(0.6, 0.9, 18, dtype=np.float32)
    found = [Detections(many, scores, np.zeros(18, np.int32)), NOTHING, NOTHING]
    axes = shown.beside_truth(truth, {"ours": (found, 0.5)}, [0]).axes[1]
    assert len(frames(axes)) == 19
    assert texts(axes)[-1] == "gun 0.90"  # the surest has its place first
    assert 12 <= len(texts(axes)) <= 18  # not all names have one in so small a picture
    assert all(text.startswith("gun 0.") for text in texts(axes))


def test_six_are_drawn_by_seed_over_classes(tmp_path):
    """Forty guns come first by path, then three knives: the first six would show no knife."""
    rows = ["image,left,top,right,bottom,class"]
    for number in range(44):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{number:02}.png")
        rows.append(
            f"{number:02}.png,1,1,9,9,{'gun' if number < 40 else 'knife'}" if number < 43 else "43.png,,,,,"
        )
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    truth = read_boxes(tmp_path)
    chosen = shown.over_classes(truth, 6, seed=0)
    assert sorted(i >= 40 for i in chosen) == [False] * 3 + [True] * 3
    assert len(set(chosen)) == 6
    assert 43 not in chosen
    assert chosen == shown.over_classes(truth, 6, seed=0) != shown.over_classes(truth, 6, seed=1)
    assert len(shown.over_classes(truth.take(range(38, 44)), 9)) == 5  # all that have an object


def test_a_batch_is_drawn_without_its_padding():
    images = np.zeros((5, 32, 48, 3), np.uint8)
    boxes = [np.array([[1, 2, 11, 22], [-1, -1, -1, -1]])] * 5
    labels = [np.array([1, -1])] * 5
    figure = shown.labelled_batch(images, boxes, labels, ("gun", "knife"))
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 5
    assert [frames(axes) for axes in drawn] == [[(style.ORANGE, 0.5, 1.5, 10, 20)]] * 5
    assert texts(drawn[0]) == ["knife"]


def test_curves_have_the_points_of_the_measures(case):
    truth, found = case
    figure = shown.pr_curves(truth, found)
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    assert list(lines) == ["gun  AP 1.000", "knife  AP 0.000"]
    assert lines["gun  AP 1.000"].get_xydata()[0].tolist() == [1.0, 1.0]
    assert right.get_title(loc="left") == "F1 · best 0.667 from score 0.900"
    figure = shown.froc(truth, found, rates=(0.5, 1.0))
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "3 images, 2 objects, IoU 0.5"
    assert texts(axes) == ["50 %", "50 %"]
    everything = next(line for line in axes.lines if line.get_label() == "all classes")
    assert everything.get_ydata().tolist() == [0.5, 0.5, 0.5]
    np.testing.assert_allclose(everything.get_xdata(), [1 / 20, 1 / 3, 2 / 3])


def test_nothing_to_draw_is_said(case):
    truth, found = case
    empty, silent = truth.take([2]), found[2:]
    for figure in (
        shown.pr_curves(empty, silent),
        shown.froc(empty, silent),
        shown.beside_truth(truth.take([]), {}),
        shown.labelled_batch(np.zeros((0, 8, 8, 3), np.uint8), [], [], ()),
    ):
        assert not figure.axes
        assert figure.texts
    silent_all = [NOTHING] * 3
    assert shown.pr_curves(truth, silent_all).axes  # objects, and a detector that says nothing
    assert shown.froc(truth, silent_all).axes


def test_images_are_upright_eight_bit_and_small(tmp_path):
    Image.fromarray(np.full((20, 30), 65535, np.uint16)).save(tmp_path / "deep.png")
    assert shown.upright_image(tmp_path / "deep.png").tolist() == np.full((20, 30, 3), 255).tolist()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (2000, 1000)).save(tmp_path / "turned.jpg", exif=exif)
    assert shown.upright_image(tmp_path / "turned.jpg").shape == (640, 320, 3)
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(DataFault, match=r"bad.png cannot be opened"):
        shown.upright_image(tmp_path / "bad.png")
