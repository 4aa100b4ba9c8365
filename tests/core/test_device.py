"""TensorFlow's start, in processes of their own: quiet, seeded, on the wanted device."""

import json
import os
import platform
import subprocess
import sys

import pytest

from tlkit.core import device
from tlkit.errors import RunFailed

START = """
import json, sys
from tlkit.core.device import prepare_tensorflow
said = []
environment = prepare_tensorflow(7, sys.argv[1], say=said.append, verbose=len(sys.argv) > 2)
import random, numpy as np, keras, tensorflow as tf
sys.stderr.write("still here")
draws = [random.random(), np.random.rand(), float(keras.random.uniform(())), float(tf.random.uniform(()))]
from tensorflow.python.framework import config
print(json.dumps([said, environment, draws, config.is_op_determinism_enabled(), keras.backend.backend()]))
"""


def start(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", START, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )


def test_the_start_is_quiet_seeded_and_written_down():
    done = start("cpu", KERAS_BACKEND="torch", TF_CPP_MIN_LOG_LEVEL="0")
    assert done.stderr == "still here"  # not a word from C++, and stderr works again afterwards
    said, environment, draws, deterministic, backend = json.loads(done.stdout)
    assert len(said) == 1
    assert said[0].startswith("Device: CPU, ")
    assert said[0].endswith(" threads (as --device cpu asks).")
    assert set(environment) == {
        "python", "platform", "processor", "numpy", "tensorflow", "keras", "tlkit", "device", "threads", "pools",
        "onednn", "deterministic", "seeded", "instructions", "decoding",
    }  # fmt: skip
    assert environment["onednn"] in {True, False}
    assert environment["deterministic"] is True
    assert (deterministic, backend) == (True, "tensorflow")
    import random

    import numpy as np

    random.seed(7)
    np.random.seed(7)  # noqa: NPY002 - the generator that Keras seeds
    assert draws[:2] == [random.random(), np.random.rand()]  # noqa: NPY002


@pytest.mark.slow
def test_the_same_seed_draws_the_same_everywhere():
    first, second = (json.loads(start("auto").stdout) for _ in range(2))
    assert first[2] == second[2]


@pytest.mark.slow
def test_verbose_lets_tensorflow_talk():
    assert "TensorFlow binary is optimized" in start("cpu", "verbose", TF_CPP_MIN_LOG_LEVEL="0").stderr


def test_what_a_failed_import_said_is_shown(capfd):
    def broken_import():
        os.write(2, b"libcudart.so.12: cannot open shared object file\n")
        raise ImportError("numpy")

    with pytest.raises(ImportError), device._aside(verbose=False):
        broken_import()
    assert "libcudart.so.12: cannot open" in capfd.readouterr().err


def test_what_a_good_import_said_is_not(capfd):
    with device._aside(verbose=False):
        os.write(2, b"chatter\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_a_gpu_that_tensorflow_cannot_use(monkeypatch):
    """The machine shows a GPU, TensorFlow sees none: the remedy names the missing libraries."""
    monkeypatch.setattr(device, "_has_gpu_nodes", lambda: True)
    with pytest.raises(RunFailed) as caught:
        device._choose("gpu")
    assert caught.value.problem == "--device gpu: TensorFlow sees no GPU."
    assert "pip install 'tlkit[gpu]'" in caught.value.remedy
    used, why = device._choose("auto")
    assert used.startswith("CPU, ")
    assert why.startswith("there is a GPU that TensorFlow cannot use.")


def test_auto_says_why(monkeypatch):
    monkeypatch.setattr(device, "_has_gpu_nodes", lambda: False)
    assert device._choose("auto")[1] == "TensorFlow sees no GPU"
    with pytest.raises(RunFailed, match="this machine shows no GPU"):
        device.check_device("gpu")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reuses descriptors otherwise")
def test_a_closed_stderr_is_no_obstacle():
    code = "from tlkit.core.device import _aside\nwith _aside(verbose=False): pass\nprint('good')"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{code}" 2>&-'], capture_output=True, check=True
    )
    assert done.stdout == b"good\n"


@pytest.mark.gpu
def test_a_gpu_is_used_and_grows():
    done = start("gpu")
    said, environment, *_ = json.loads(done.stdout)
    assert said[0].startswith("Device: GPU, ")
    assert environment["device"].startswith("GPU, ")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 sse", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("model name\t: something with bf16", None),
    ],
)
def test_a_processor_says_whether_it_has_bfloat16(flags, expected, tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\n{flags}\n\nprocessor\t: 1\n")
    assert device.computes_bfloat16(listing) is expected
    assert device.computes_bfloat16(tmp_path / "none") is None


def test_the_instructions_for_arithmetic_are_listed(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("flags\t\t: fpu fma avx2 sse amx_tile\n")
    assert device.instructions(listing) == ["amx_tile", "avx2", "fma"]
    assert device.instructions(tmp_path / "none") is None


def test_whether_onednn_computes_is_null_where_tensorflow_does_not_say(monkeypatch):
    assert device.computes_with_onednn() in {True, False}
    monkeypatch.setitem(sys.modules, "tensorflow.python.util._pywrap_util_port", None)  # import fails
    assert device.computes_with_onednn() is None


@pytest.mark.slow  # two processes import TensorFlow
@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="oneDNN is a setting on x86 only")
@pytest.mark.parametrize(("setting", "expected"), [("0", False), ("1", True)])
def test_whether_onednn_computes_is_what_is_in_force(setting, expected):
    assert json.loads(start("cpu", TF_ENABLE_ONEDNN_OPTS=setting).stdout)[1]["onednn"] is expected


@pytest.mark.parametrize("has", [True, False, None])
def test_a_precision_that_is_only_imitated_is_warned_of(has, monkeypatch):
    monkeypatch.setattr(device, "computes_bfloat16", lambda: has)
    said: list[str] = []
    assert device.precision_policy({"device": "CPU"}, "bfloat16", said.append) == "mixed_bfloat16"
    assert [sentence.startswith("Warning: this processor has no bfloat16") for sentence in said] == [True] * (
        has is False
    )
    said.clear()
    assert device.precision_policy({"device": "GPU:0"}, "bfloat16", said.append) == "mixed_bfloat16"
    assert device.precision_policy({"device": "CPU"}, "float32", said.append) == "float32"
    assert not said
