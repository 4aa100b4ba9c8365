"""Proposals: the same at every call, kept by content, and moved exactly as boxes are."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkit.data.boxes import batches, proposals
from tlkit.data.boxes.augment_settings import BoxAugmentation
from tlkit.data.boxes.batches import plain_box_batches, training_box_batches
from tlkit.data.boxes.dataset import without_any
from tlkit.data.boxes.proposals import in_order, proposals_of_files, selective_search, with_proposals
from tlkit.data.images.batches import Order
from tlkit.errors import UsageFault

SIZE = 64


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Three images, the second wide, in a data set without boxes; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "images"
    root.mkdir()
    sizes = ((64, 64), (128, 64), (64, 64))
    for i, size in enumerate(sizes):
        Image.new("L", size, 50 * i).save(root / f"{i}.png")
    return without_any("some", root, [f"{i}.png" for i in range(3)], sizes)


@pytest.fixture
def searched(monkeypatch):
    """Searches are noted instead of done: three boxes each, the first by the image's grey."""
    seen = []

    def search(contents):
        grey = Image.open(io.BytesIO(contents)).getpixel((0, 0))
        seen.append(grey)
        return np.array([[0, 0, 1 + grey, 9], [1, 2, 3, 4], [5, 6, 7, 8]], np.float32)

    monkeypatch.setattr(proposals, "_searched", search)
    monkeypatch.setattr(proposals, "_opencv", lambda: SimpleNamespace(__version__="5.5.5"))
    return seen


# --- Selective Search ---


def squares(shape=(60, 80)):
    """Two squares on a darker ground."""
    pixels = np.full((*shape, 3), 60, np.uint8)
    pixels[10:30, 10:30], pixels[35:50, 50:70] = (200, 180, 160), (120, 220, 30)
    return pixels


def test_two_searches_give_the_same_boxes_in_the_same_order():
    pytest.importorskip("cv2")
    one, other = selective_search(squares()), selective_search(squares())
    assert one.dtype == np.float32
    assert one.tolist() == other.tolist()
    assert {(10, 10, 30, 30), (50, 35, 70, 50)} <= set(map(tuple, one.tolist()))
    assert len(np.unique(one, axis=0)) == len(one)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (40, 30, 3), (40, 30)])
def test_an_image_without_edges_is_its_own_proposal(shape):
    pytest.importorskip("cv2")
    assert selective_search(np.full(shape, 200, np.uint8)).tolist() == [[0, 0, shape[1], shape[0]]]


def test_no_pixels_have_no_proposal():
    pytest.importorskip("cv2")
    assert selective_search(np.zeros((0, 5, 3), np.uint8)).shape == (0, 4)


def test_a_large_image_is_searched_at_less_pixels_and_boxes_are_of_its_own():
    pytest.importorskip("cv2")
    pixels = np.full((100, 2 * proposals.LONGEST, 3), 60, np.uint8)
    pixels[20:80, 400:600] = 220
    found = selective_search(pixels)
    assert [400, 20, 600, 80] in found.tolist()
    assert found[:, 2].max() == pixels.shape[1]


def test_the_order_is_that_of_a_hash_and_each_box_comes_once():
    boxes = np.random.default_rng(0).integers(0, 50, (40, 4)).astype(np.int32)
    found = in_order(np.concatenate([boxes, boxes[:7]]))
    assert found.tolist() == in_order(boxes[::-1]).tolist()
    assert sorted(found.tolist()) == sorted(set(map(tuple, boxes.tolist())), key=list) or len(found) == 40
    for column in found.T:  # by no coordinate
        assert abs(np.corrcoef(column, np.arange(len(found)))[0, 1]) < 0.5


def test_the_extra_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageFault, match="not installed") as absent:
        selective_search(squares())
    assert 'pip install "tlkit[proposals]"' in absent.value.remedy
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="4.1"))
    with pytest.raises(UsageFault, match="contributed modules") as lacking:
        selective_search(squares())
    assert "tlkit[proposals]" in lacking.value.remedy


# --- of files ---


def test_files_are_searched_once_for_each_content(images, searched):
    first = with_proposals(images, 2)
    assert [len(some) for some in first.proposals] == [2, 2, 2]
    assert len(searched) == 3
    again = with_proposals(images, 3)
    assert len(searched) == 3
    assert again.proposals[2][0].tolist() == [0, 0, 101, 9]
    images.file(0).write_bytes(images.file(2).read_bytes())  # another content, known too
    assert with_proposals(images, 3).proposals[0][0].tolist() == [0, 0, 101, 9]
    assert len(searched) == 3
    for kept in proposals.proposal_folder().rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:90])
    assert with_proposals(images, 3).proposals[2].tolist() == again.proposals[2].tolist()
    assert len(searched) > 3  # damaged: done anew


def test_a_cache_that_cannot_be_written_and_a_file_that_cannot_be_read_stop_nothing(images, searched):
    proposals.cache_folder().parent.mkdir()
    proposals.cache_folder().write_text("in its place")
    images.file(1).unlink()
    told = []
    found = proposals_of_files([*images.files(), "nowhere.png"], 3, told.append)
    assert [len(some) for some in found] == [3, 0, 3, 0]
    assert told == [1, 2, 3, 4]


def test_images_follow_only_where_both_or_none_were_searched(images, searched):
    known = with_proposals(images, 3)
    assert len(known.followed_by(known).proposals) == 6
    assert known.take([2]).proposals[0].tolist() == known.proposals[2].tolist()
    assert images.followed_by(images).proposals is None
    with pytest.raises(ValueError, match="not searched"):
        known.followed_by(images)


# --- batches ---


@pytest.fixture
def black(monkeypatch):
    """Images are not read, which is told elsewhere."""
    monkeypatch.setattr(
        batches, "_pixels_of", lambda *_: lambda chosen: tf.zeros([tf.size(chosen), SIZE, SIZE, 3], tf.uint8)
    )


def test_batches_bring_proposals_in_the_pixels_of_the_square(images, black):
    some = (
        np.zeros((0, 4), np.float32),
        np.array([[0, 0, 128, 64]], np.float32),
        np.ones((5000, 4), np.float32),
    )
    known = replace(images, proposals=some)
    (x, truth), *_ = plain_box_batches(known, SIZE, 3)
    assert x["images"].shape == (3, SIZE, SIZE, 3)
    assert x["proposals"].shape == (3, 5000, 4)
    assert (x["proposals"].numpy()[0] == -1).all()
    assert x["proposals"].numpy()[1, :2].tolist() == [[0, 16, 64, 48], [-1] * 4]
    assert set(truth) == {"boxes", "classes"}
    none = replace(images, proposals=(some[0],) * 3)
    (x, _), *_ = training_box_batches(none, Order(np.zeros(3, np.int32), 3, 0, "all"), SIZE, 1)
    assert x["proposals"].numpy().tolist() == [[[-1] * 4]] * 3


def test_a_threat_that_is_pasted_in_is_a_proposal(images, black):
    known = replace(images, proposals=(np.array([[8, 8, 24, 24]], np.float32),) * 3)
    threat = tf.constant([[30.0, 30, 50, 40]])

    def change(pixels, xyxy, labels, _frames, _seed):
        here = tf.tile(threat[None], [3, 1, 1])
        return (
            pixels,
            tf.concat([xyxy, here], 1),
            tf.concat([labels, tf.zeros([3, 1], tf.int32)], 1),
        )

    order = Order(np.zeros(3, np.int32), 3, 0, "all")
    how = BoxAugmentation(flip="both", turn=True)
    (x, truth), *_ = training_box_batches(known, order, SIZE, 1, change=change, augmentation=how)
    for boxes, classes, found in zip(truth["boxes"], truth["classes"], x["proposals"], strict=True):
        assert boxes.numpy()[classes.numpy() == 0].tolist() == found.numpy()[1:2].tolist()
        assert (found.numpy()[0] > 0).all()
