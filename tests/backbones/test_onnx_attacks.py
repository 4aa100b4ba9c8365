"""ONNX files from strangers: refused in one sentence before anything large is allocated, ended where they do not end."""

from __future__ import annotations

import os
import resource
import time

import numpy as np
import pytest

pytest.importorskip("onnx", reason="ONNX files need the package onnx")
pytest.importorskip("onnxruntime", reason="ONNX files are run by onnxruntime")
from tests.backbones import onnx_attacks
from tlkit.backbones import onnx_worker
from tlkit.backbones.onnx_checks import contradictions
from tlkit.backbones.onnx_file import read_onnx
from tlkit.backbones.onnx_weights import file_graph
from tlkit.errors import ModelFault
from tlkit.tasks.features.onnx_network import OnnxNetwork

ATTACKS = onnx_attacks.named()
GIANTS = list(onnx_attacks._giants())
STATIC = [name for name in ATTACKS if name not in (*GIANTS, "a convolution of nothing")]


@pytest.mark.parametrize("name", STATIC)
def test_what_contradicts_itself_is_refused_before_anything_runs(name, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_worker, "Worker", None)  # none is started
    file = onnx_attacks.write(tmp_path, "x", ATTACKS[name]().SerializeToString())
    with pytest.raises(ModelFault) as told:
        OnnxNetwork(file)
    assert told.value.problem.startswith(str(file))
    assert told.value.exit_code == 4
    onnx_attacks._check_sentence(told.value)


@pytest.mark.parametrize("name", ["expand", "range"])
def test_what_asks_for_terabytes_is_refused_by_the_bound_of_its_worker(name, tmp_path):
    file = onnx_attacks.write(tmp_path, "x", ATTACKS[name]().SerializeToString())
    with pytest.raises(ModelFault, match="it needs more memory than it may have") as told:
        OnnxNetwork(file, image_size=onnx_attacks.SIDE)
    onnx_attacks._check_sentence(told.value)


def test_a_worker_that_does_not_end_in_time_is_ended(tmp_path, monkeypatch):
    file = onnx_attacks.write(tmp_path, "x", onnx_attacks.network().SerializeToString())
    network = OnnxNetwork(file, image_size=onnx_attacks.SIDE)
    process = network._worker._process
    os.kill(process.pid, 19)  # SIGSTOP: it will never answer
    monkeypatch.setattr(onnx_worker, "START_SECONDS", 0.2)
    monkeypatch.setattr(onnx_worker, "IMAGE_SECONDS", 0.0)
    began = time.monotonic()
    with pytest.raises(ModelFault, match=r"it did not end within 0 seconds\."):
        network(np.zeros((1, 8, 8, 3), np.uint8))
    assert time.monotonic() - began < 10
    assert process.poll() is not None
    with pytest.raises(ModelFault, match="it was ended"):  # asked again
        network(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_worker_ends_with_the_network_that_it_serves(tmp_path):
    file = onnx_attacks.write(tmp_path, "x", onnx_attacks.network().SerializeToString())
    network = OnnxNetwork(file, image_size=onnx_attacks.SIDE)
    process = network._worker._process
    assert process.poll() is None
    del network
    assert process.poll() is not None


def test_damaged_bytes_are_read_or_refused(tmp_path):
    sound = onnx_attacks.network().SerializeToString()
    refused = 0
    for seed in range(150):
        file = onnx_attacks.write(tmp_path, "x", onnx_attacks.damaged(sound, seed))
        try:
            with contradictions(file):
                file_graph(read_onnx(file))
        except ModelFault as fault:
            onnx_attacks._check_sentence(fault)
            refused += 1
    assert 30 < refused < 150


@pytest.mark.slow
def test_no_file_of_the_corpus_does_anything_else(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, make in ATTACKS.items():
        assert (
            onnx_attacks.outcome(onnx_attacks.write(tmp_path, "x", make().SerializeToString())) == "refused"
        ), name
    sound = onnx_attacks.network().SerializeToString()
    found = [
        onnx_attacks.outcome(onnx_attacks.write(tmp_path, "x", onnx_attacks.damaged(sound, seed)))
        for seed in range(300)
    ]
    assert {"answered", "refused"} == set(found)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2_000_000
