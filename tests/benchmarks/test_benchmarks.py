"""The benchmarks run, at small size; how fast is never pass or fail."""

from __future__ import annotations

import json
import math
import platform

import pytest

from tests.benchmarks import (
    cached,
    composites,
    detectors,
    features,
    guard,
    head,
    head_quality,
    heads,
    measuring,
    memory,
    onednn,
    peer,
)
from tests.benchmarks import check as check_benchmark
from tests.benchmarks import help as help_benchmark
from tests.benchmarks import windows as windows_benchmark

pytestmark = [
    pytest.mark.slow,
    # Keras converts its own variables in a way that NumPy 2 deprecates; Keras' side of the benchmarks meets it
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def folder(make_folder):
    """Two classes of drawn images."""
    return str(make_folder(disc=30, bar=30))


@pytest.fixture
def crops(tmp_path):
    """A few of the real crops, in class folders."""
    if not measuring.THREATS.is_dir():
        pytest.skip("the real crops (../shared/data/threats) are not on this machine")
    from tlkit.data.images.sources import read_images

    images = read_images(str(measuring.THREATS))
    return str(measuring.link(images, range(0, len(images), 40), tmp_path / "crops"))


def check(comparisons):
    for comparison in comparisons:
        assert all(0 < ratio < math.inf for ratio in comparison.ratios), comparison
        assert len(comparison.cells()) == 8


def test_help_runs():
    check(help_benchmark.measure("", 1))


def test_features_run(folder):
    check(features.measure(folder, 1, image_size=32, photographs=4, large=(320, 240)))


@pytest.mark.real
def test_features_run_on_real_crops(crops):
    check(features.measure(crops, 1, image_size=64, photographs=2, large=(400, 300)))


def test_head_runs(folder):
    check(head.measure(folder, 1, image_size=32, epochs=2))


def test_head_quality_runs(folder):
    row = head_quality.measure(folder, 1, image_size=32)
    assert 0 <= row.ours[0] <= 1
    assert row.best[0] <= row.epochs[0]
    assert len(row.cells()) == 8


def test_a_gap_is_of_the_means():
    row = head_quality.Row("s", 9, (0.9, 0.8), (0.8, 0.88), (1.0, 3.0), (5, 7), (1, 2))
    assert row.gap == pytest.approx(-0.01)
    assert row.cells()[4:] == ["-0.0100", "NO", "6", "2 s"]


def test_peer_runs(folder):
    rows = peer.measure(folder, 1, image_size=32, epochs=1, steps=1)
    assert rows[0].rival[0] > 0
    assert rows[0].ours[0] > 0  # infinite where ours never gets there, which random weights may do


def test_memory_runs():
    check(memory.measure("", 1, few=8, many=40))


def test_check_runs():
    check(check_benchmark.measure("", 1, few=40, many=120))


def test_cached_runs(folder):
    check(cached.measure(folder, 1, images=80, image_size=32))


def test_composites_run():
    check(composites.measure("", 1, count=6, bags=2, crops=2))


def test_guard_runs():
    check(guard.measure("", 1, steps=1))


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="oneDNN is a setting on x86 only")
def test_onednn_runs():
    check(onednn.measure("", 1, network="mobilenet-v2-0.35", size=32))


def test_windows_run():
    check(windows_benchmark.measure("", 1, size=64, side=32, loop=4))


def test_detectors_run():
    check(detectors.measure("", 1, size=96, images=8, steps=2, evaluated=200, asked=2))


def test_heads_run(folder):
    check(heads.measure(folder, 1, image_size=32))


def test_a_comparison_by_hand(capsys):
    row = measuring.Comparison(
        "c", "s", (2.0, 8.0, 3.0), (1.0, 2.0, 1.0), 3, least=True, inverse=True, note="n = 3"
    )
    assert row.ratios == [2.0, 4.0, 3.0]
    assert (row.ratio, row.met) == (3.0, True)
    assert row.cells()[3:] == ["3 (2..4)", "rival / ours", ">= 3", "yes", "3"]
    measuring.show([row], as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["comparisons"][0]["ratio"] == 3.0


def test_ways_take_turns():
    calls = []
    ways = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in ("a", "b")}
    assert measuring.in_turn(ways, 2) == {"a": (1.0, 4.0), "b": (2.0, 3.0)}
    assert calls == ["a", "b", "b", "a"]
