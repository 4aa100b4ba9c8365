"""Masks cut and resampled: shares of cells against a plain loop, areas and boxes as they should be."""

from __future__ import annotations

import numpy as np

from tlkit.data.boxes.masks.resampling import coverage, cut, resampled


def blob(height, width, seed=0):
    """An ellipse somewhere inside."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    middle, half = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3, 2)
    return ((y / height - middle[0]) / half[0]) ** 2 + ((x / width - middle[1]) / half[1]) ** 2 <= 1


def test_a_window_cuts_what_lies_in_it_and_has_nothing_outside():
    pixels = blob(9, 12)
    assert np.array_equal(cut(pixels, (2, 1, 7, 8)), pixels[1:8, 2:7])
    outside = cut(pixels, (-2, -3, 14, 10))
    assert np.array_equal(outside[3:12, 2:14], pixels)
    assert outside.sum() == pixels.sum()
    assert not cut(pixels, (20, 20, 23, 22)).any()


def test_shares_of_cells_are_those_of_a_plain_loop():
    pixels, window, fine = blob(6, 7, 3), (-1.5, 0.25, 6.0, 7.0), 40
    found = coverage(pixels, np.array(window), 3, 5)
    left, top, right, bottom = window
    for row in range(3):
        for column in range(5):
            y = top + (row + (np.arange(fine) + 0.5) / fine) * (bottom - top) / 3
            x = left + (column + (np.arange(fine) + 0.5) / fine) * (right - left) / 5
            inside = [
                0 <= a < 6 and 0 <= b < 7 and pixels[int(np.floor(a)), int(np.floor(b))] for a in y for b in x
            ]
            assert abs(found[row, column] - np.mean(inside)) < 0.02
    assert coverage(pixels, np.array([0, 0, 7, 6]), 1, 1)[0, 0] == np.float32(pixels.mean())


def test_its_own_size_is_itself_and_larger_keeps_the_shape():
    pixels = blob(20, 33)
    assert np.array_equal(resampled(pixels, 20, 33), pixels)
    assert np.array_equal(resampled(pixels, 40, 99), pixels.repeat(2, 0).repeat(3, 1))


def test_half_covered_keeps_the_area():
    for seed in range(3):
        pixels = blob(150, 100, seed)
        assert abs(resampled(pixels, 60, 40).mean() - pixels.mean()) < 0.02 * pixels.mean() + 1e-3


def test_two_halves_of_an_image_leave_no_gap():
    left = np.zeros((6, 9), bool)
    left[:, :5] = True
    assert (resampled(left, 3, 3) | resampled(~left, 3, 3)).all()
