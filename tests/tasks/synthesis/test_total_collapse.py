"""A generator that makes one image: noticed at the first look, begun again, given up the third time; what leads back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.synthesis.starts import play_start
from tests.tasks.synthesis.test_gan import PLAY, images, make, rewound, values
from tlkit.engine.training.checkpoints import load_variables, save_variables
from tlkit.errors import RunFailed
from tlkit.tasks.synthesis import fit as playing
from tlkit.tasks.synthesis.fit import GanWatchers, fit_gan
from tlkit.tasks.synthesis.total_collapse import constant_reason


def whiten(gan):
    """Saturate what a generator makes: white, whatever the latents."""
    for network in (gan.generator, gan.average):
        network.body.layers[-2].bias.assign([20.0])


@pytest.fixture(scope="module")
def started():
    gan = make()
    return gan, values(gan)


@pytest.fixture
def gan(started, monkeypatch):
    monkeypatch.setattr(playing, "SETTLED", 2)
    gan = rewound(*started)
    gan.begun = 0
    return gan


def test_one_image_is_told_from_many(gan):
    kernel = gan.average.body.layers[-2].kernel
    kernel.assign(10 * kernel)  # at its beginning a generator's images hardly differ
    assert constant_reason(gan, images()) is None
    whiten(gan)
    reason = constant_reason(gan, images())
    assert reason.startswith("Pixels of the samples differ 0.000 times as much as those of real images do")


def spoiled(gan, steps, said):
    """Watchers that whiten the generator when a step of these is done."""
    return GanWatchers(step=lambda *_: whiten(gan) if int(gan.step) in steps else None, note=said.append)


def test_a_collapsed_gan_is_begun_again_and_goes_on_from_a_kill_bit_for_bit(
    gan, started, tmp_path, monkeypatch
):
    monkeypatch.setattr("tlkit.tasks.synthesis.total_collapse.LEAST_SPREAD", 1e-4)
    first, said = values(gan)[4:], []
    result = fit_gan(
        gan, images(), steps=5, folder=tmp_path / "whole", every=2, watchers=spoiled(gan, {2}, said)
    )
    assert (result.steps, result.begun_again, result.stopped) == (7, (2,), "all steps done")
    assert list(result.notes) == said
    assert said[0].startswith("Collapsed at step 2: Pixels of the samples differ 0.000 times")
    assert said[0].endswith("Begun again (1 of 2) with weights drawn from seed 1000003.")
    whole = values(gan)
    assert not all(np.array_equal(a, b) for a, b in zip(first, whole[4:], strict=True))

    gan = rewound(*started)
    gan.begun = 0

    def die(*_):
        if int(gan.step) == 2:
            whiten(gan)
        if int(gan.step) == 5:
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        fit_gan(gan, images(), steps=5, folder=cut, every=2, watchers=GanWatchers(step=die))
    gan = rewound(*started)
    gan.begun = 0
    again = fit_gan(gan, images(), steps=5, folder=cut, every=2)
    assert (again.steps, again.begun_again, list(again.notes)) == (7, (2,), said)
    assert all(np.array_equal(a, b) for a, b in zip(whole, values(gan), strict=True))


def test_the_third_collapse_is_a_failure_and_stays_one(gan, tmp_path):
    said = []
    with pytest.raises(RunFailed, match="collapsed at step 6, 2 times begun again: Pixels") as failed:
        fit_gan(gan, images(), steps=8, folder=tmp_path, every=2, watchers=spoiled(gan, {2, 4, 6}, said))
    assert "another --seed" in failed.value.remedy
    assert len(said) == 2
    with pytest.raises(RunFailed, match="collapsed at step 6"):  # what `resume` says
        fit_gan(gan, images(), steps=8, folder=tmp_path, every=2)


def test_where_the_tanh_is_saturated_the_penalty_alone_leads_back(gan):
    whiten(gan)
    batch = (tf.constant(images()[:4] * 2 - 1), tf.zeros(4, tf.int32))
    kept = gan.play
    try:
        found = {}
        for weight in (0.0, kept.saturation):
            gan.play = replace(kept, saturation=weight)
            found[weight] = gan.gradients(*batch).generator
    finally:
        gan.play = kept
    assert all(not np.any(slope) for slope in found[0.0])  # the slope of tanh(20) is 0
    kernel, bias = found[kept.saturation][-2:]
    # d/db of 0.1 mean((20 + x - 3)^2), where x, what the kernel adds, is small
    assert float(bias[0]) == pytest.approx(0.1 * 2 * 17, rel=0.02)
    assert np.any(kernel)


def test_a_gan_begun_before_there_was_a_penalty_goes_on_without_it(gan, tmp_path):
    kept = gan.play
    fit_gan(gan, images(), steps=1, folder=tmp_path, every=5)
    file = tmp_path / playing.LAST
    state = load_variables(file, gan.state)
    del state["settings"]["saturation"]
    save_variables(file, gan.state, state)
    try:
        fit_gan(gan, images(), steps=1, folder=tmp_path, every=5)
        assert (kept.saturation, gan.play.saturation) == (PLAY.saturation, 0.0)
    finally:
        gan.play = kept


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("group", [None, r"[ULA]?(B\d+_\d+)"])
@pytest.mark.parametrize(("network", "starts", "steps"), [("dcgan", 20, 500), ("stylegan", 20, 500)])
def test_no_start_ends_collapsed(network, starts, steps, group, real_data):
    for seed in range(starts):
        found = play_start(str(real_data / "threats"), "shuriken", network, steps, seed, group=group)
        assert not found.collapsed, found  # the spread itself dips now and then, and rises again
