"""TensorFlow's start: quiet, on the wanted device, seeded, and written down for the card.

TensorFlow's C++ side writes to file descriptor 2 while it loads, before any log level is read, so that
descriptor is turned away for the length of the import and given back whatever happens; if the import fails,
what was caught is shown.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tlkit.errors import RunFailed

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # what x86 and Arm call it among a processor's flags
ARITHMETIC = BFLOAT16 | {"avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"}
ARITHMETIC |= {"avx512_fp16", "amx_tile", "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "sve2"}
CPUS = Path("/proc/cpuinfo")
_GPU_NODES = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def check_device(device: str) -> None:
    """Refuse `--device gpu` before anything slow where the machine plainly has none.

    Raises:
        RunFailed: This is Linux and there is no device file of any GPU.
    """
    if device == "gpu" and sys.platform == "linux" and not _has_gpu_nodes():
        raise RunFailed(
            "--device gpu: this machine shows no GPU (no /dev/nvidia0).",
            "Use --device auto, or a machine with one.",
        )


def prepare_tensorflow(
    seed: int, device: str = "auto", *, say: Callable[[str], None] | None = None, verbose: bool = False
) -> dict[str, Any]:
    """Import TensorFlow and Keras and make them ready: quiet, on the device, seeded, deterministic.

    Args:
        seed: For Python, NumPy and TensorFlow.
        device: "auto", "cpu" or "gpu".
        say: Told in one line which device was chosen and why.
        verbose: Whether TensorFlow's own chatter is let through.

    Returns:
        The environment for the card: python, platform, processor, instructions, numpy, tensorflow, keras, tlkit,
        device, threads (processors that this process may use), pools (threads within and between operations, 0 as
        many as fit), onednn (whether it computes), deterministic, seeded (whose random numbers follow from the seed).

    Raises:
        RunFailed: `gpu` is wanted and TensorFlow sees none.
    """
    check_device(device)
    import_tensorflow(verbose=verbose)
    import keras
    import tensorflow as tf

    with _aside(verbose=verbose):  # the first look at the devices loads drivers, which talk
        used, reason = _choose(device)
    if say:
        say(f"Device: {used} ({reason}).")
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return _environment(used)


def _environment(device: str) -> dict[str, Any]:
    """Everything beside seed, options and data that the bits of a result may depend on."""
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.framework import config

    from tlkit import __version__
    from tlkit.core.environment import DECODING

    threading = tf.config.threading
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "instructions": instructions(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "tlkit": __version__,
        "device": device,
        "threads": _threads(),
        "pools": [
            threading.get_intra_op_parallelism_threads(),
            threading.get_inter_op_parallelism_threads(),
        ],
        "onednn": computes_with_onednn(),
        "decoding": DECODING,
        "deterministic": config.is_op_determinism_enabled(),
        "seeded": ["python", "numpy", "tensorflow", "keras"],
    }


def computes_with_onednn() -> bool | None:
    """Whether oneDNN computes in this process; None where TensorFlow does not say.

    TF_ENABLE_ONEDNN_OPTS alone does not tell: unset, TensorFlow decides by the processor. What it decided stands in a
    module that is no part of its public interface, so it may be gone in another release.
    """
    try:
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return bool(IsMklEnabled())


def instructions(listing: Path = CPUS) -> list[str] | None:
    """The processor's instructions for arithmetic, by which libraries choose how to add up; None without a list.

    Processors of several makes are listed under one name in a cloud.
    """
    flags = _listed(("flags", "Features"), listing)
    return None if flags is None else sorted(ARITHMETIC & set(flags.split()))


def computes_bfloat16(listing: Path = CPUS) -> bool | None:
    """Whether the processor has bfloat16 of its own, as Linux lists it; None where there is no such list."""
    flags = _listed(("flags", "Features"), listing)
    return None if flags is None else bool(BFLOAT16 & set(flags.split()))


def processor() -> str:
    """The processor's model: another one may add up in another order."""
    return _listed(("model name",)) or platform.processor() or platform.machine()


def _listed(names: tuple[str, ...], listing: Path = CPUS) -> str | None:
    """What Linux lists first under one of these names; None where it does not."""
    if not listing.is_file():
        return None
    lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), None)


def import_tensorflow(*, verbose: bool = False) -> None:
    """Import TensorFlow and Keras on the TensorFlow backend, quietly unless `verbose`.

    Raises:
        RunFailed: Keras was imported before, by somebody else, on another backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _aside(verbose=verbose or "tensorflow" in sys.modules):
        import_module("tensorflow")
        import_module("keras")
    if (backend := sys.modules["keras"].backend.backend()) != "tensorflow":
        raise RunFailed(
            f"Keras computes with {backend} in this process, and tlkit with tensorflow.",
            "Start Python anew, with KERAS_BACKEND=tensorflow in the environment.",
        )
    if not verbose:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)


def _choose(device: str) -> tuple[str, str]:
    """The device to use, by name, and why; sets it up."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise RunFailed("--device gpu: TensorFlow sees no GPU.", _gpu_remedy())
    if device == "cpu" or not gpus:
        if gpus:
            with suppress(RuntimeError):  # TensorFlow runs already, in tests: the choice was made before
                tf.config.set_visible_devices([], "GPU")
        return f"CPU, {_threads()} threads", _why_cpu(device)
    for gpu in gpus:
        with suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"GPU, {name}", "as --device gpu asks" if device == "gpu" else "TensorFlow sees it"


def _why_cpu(device: str) -> str:
    if device == "cpu":
        return "as --device cpu asks"
    if _has_gpu_nodes():
        return f"there is a GPU that TensorFlow cannot use. {_gpu_remedy()}"
    return "TensorFlow sees no GPU"


def _gpu_remedy() -> str:
    return (
        "Install its libraries: pip install 'tlkit[gpu]'" if _has_gpu_nodes() else "Use --device auto or cpu."
    )


def _has_gpu_nodes() -> bool:
    root = Path("/")
    return any(any(root.glob(pattern.lstrip("/"))) for pattern in _GPU_NODES)


def _threads() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _aside(*, verbose: bool) -> Iterator[None]:
    """Catch what is written to file descriptor 2; show it only if what runs inside fails for real."""
    if verbose:
        yield
        return
    try:
        saved = os.dup(2)
    except OSError:  # started with stderr closed
        yield
        return
    with tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except ImportError:
            os.dup2(saved, 2)
            caught.seek(0)
            with os.fdopen(os.dup(2), "wb") as stderr:
                shutil.copyfileobj(caught, stderr)
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def precision_policy(environment: dict[str, Any], precision: str, say: Callable[[str], None]) -> str:
    """The Keras policy that computes in this type and keeps variables in float32.

    Args:
        environment: What `prepare_tensorflow` returned.
        precision: "float32", "bfloat16" or "float16".
        say: Told where the processor only imitates the type.

    Raises:
        RunFailed: float16 is wanted without a GPU.
    """
    on_gpu = "gpu" in str(environment.get("device", "")).lower()
    if precision == "float16" and not on_gpu:
        raise RunFailed("--precision float16 needs a GPU.", "Use bfloat16 or float32 on a CPU.")
    if precision == "bfloat16" and not on_gpu and computes_bfloat16() is False:
        say(
            "Warning: this processor has no bfloat16 of its own; a step takes several times as long as in float32."
        )
    return "float32" if precision == "float32" else f"mixed_{precision}"


def set_precision(environment: dict[str, Any], precision: str, say: Callable[[str], None]) -> None:
    """Compute in this type from here on; see `precision_policy`."""
    import keras

    keras.config.set_dtype_policy(precision_policy(environment, precision, say))
