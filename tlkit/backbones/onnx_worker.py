"""ONNX Runtime in a process of its own, with bounds of memory and time: what runs in it can be ended.

A sound description may still ask a runtime for terabytes (Expand, Tile, ConstantOfShape, Range, Resize, Pad), or keep
it busy for hours. So inference of shapes, building a session and running it happen in a worker that may take so much
memory and no more, and that is killed when its time is over; what it says is numbers and text, and nothing is unpickled.

    python -P -m tlkit.backbones.onnx_worker MEMORY_IN_BYTES     # started by `Worker`, and by nobody else
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import weakref
from typing import Any, BinaryIO

import numpy as np

MEMORY = (
    12 * 2**30
)  # bytes of address space beside the model; a ResNet152 with 32 images of 224 pixels takes 3
START_SECONDS = 180.0  # to infer shapes, and to build a session
IMAGE_SECONDS = 30.0  # to run, for each image, beside START_SECONDS; the slowest known network takes two
_CHUNK = 1 << 20


class WorkerFault(Exception):
    """What went wrong in a worker: the end of a sentence."""


class Worker:
    """A process with ONNX Runtime that takes one model.

    Args:
        model_bytes: Length of the model; the worker may take four times as much on top.
    """

    def __init__(self, model_bytes: int) -> None:
        self.memory = MEMORY + 4 * model_bytes
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tlkit.backbones.onnx_worker", str(self.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_CHUNK if sys.platform == "linux" else -1,
            start_new_session=True,  # Ctrl-C is for us, and what it starts ends with it
        )
        self._end = weakref.finalize(self, _end, self._process)

    def close(self) -> None:
        """End the process."""
        self._end()

    def shapes(self, model: bytes) -> dict[str, list[int]]:
        """Sides of every result by name, 0 where open, as far as they can be inferred."""
        return self._ask({"do": "shapes"}, model, START_SECONDS)[0]["shapes"]

    def start(self, model: bytes) -> None:
        """Build the session."""
        self._ask({"do": "start"}, model, START_SECONDS)

    def run(self, output: str, name: str, images: np.ndarray) -> np.ndarray:
        """One result of the session for the input `name`."""
        images = np.ascontiguousarray(images, np.float32)
        seconds = START_SECONDS + IMAGE_SECONDS * len(images)
        question: dict[str, Any] = {"do": "run", "output": output, "input": name, "shape": images.shape}
        answer, found = self._ask(question, images.data.cast("B"), seconds)
        return np.frombuffer(found, answer["dtype"]).reshape(answer["shape"])

    def _ask(
        self, question: dict[str, str], content: bytes | memoryview, seconds: float
    ) -> tuple[Any, bytes | bytearray]:
        """Ask, and wait for an answer so long.

        Raises:
            WorkerFault: It says what went wrong, died (as it does where memory ends), or did not answer in time.
        """
        if self._process.stdin.closed:  # type: ignore[union-attr]
            raise WorkerFault("it was ended, because it broke off or took too long")
        until = time.monotonic() + seconds
        try:
            _write(self._process.stdin, question, content, until)
            answer, found = _read(self._process.stdout, until)
        except TimeoutError:
            self.close()
            raise WorkerFault(f"it did not end within {seconds:.0f} seconds") from None
        except (OSError, EOFError):
            self.close()
            raise WorkerFault(
                f"it took more than the {self.memory / 2**30:.0f} GiB that it may have, or broke off"
            ) from None
        if "error" in answer:
            raise WorkerFault(answer["error"])
        return answer, found


def _end(process: subprocess.Popen) -> None:
    """Kill a worker and all that it started."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


# --- messages: a line of JSON with the length of what follows, and that ---


def _write(stream: Any, head: dict[str, Any], content: bytes | memoryview, until: float) -> None:
    parts = [json.dumps({**head, "bytes": len(content)}).encode() + b"\n", content]
    if os.name != "posix":  # pipes cannot be waited for there: the answer's deadline must do
        for part in parts:
            stream.write(part)
        stream.flush()
        return
    descriptor = stream.fileno()
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_WRITE)
        for part in parts:
            data = memoryview(part)
            while data:
                if not selector.select(max(until - time.monotonic(), 0)):
                    raise TimeoutError
                data = data[os.write(descriptor, data[:_CHUNK]) :]


def _read(stream: Any, until: float) -> tuple[Any, bytes | bytearray]:
    held = bytearray()
    descriptor = stream.fileno()
    with selectors.DefaultSelector() if os.name == "posix" else contextlib.nullcontext() as selector:
        if selector:
            selector.register(descriptor, selectors.EVENT_READ)

        def more() -> None:
            if selector and not selector.select(max(until - time.monotonic(), 0)):
                raise TimeoutError
            found = os.read(descriptor, _CHUNK)
            if not found:
                raise EOFError
            held.extend(found)

        while b"\n" not in held:
            more()
        end = held.index(b"\n")
        head = json.loads(held[:end])
        del held[: end + 1]
        while len(held) < head["bytes"]:
            more()
    return head, held


# --- in the worker ---


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer questions until the source ends."""
    session: Any = None
    for line in iter(source.readline, b""):
        question = json.loads(line)
        content = source.read(question["bytes"])
        answer: dict[str, Any] = {}
        found: bytes | memoryview = b""
        try:
            if question["do"] == "shapes":
                answer["shapes"] = _shapes(content)
            elif question["do"] == "start":
                session = _session(content)
            else:
                result = _run(session, question, content)
                answer = {"dtype": result.dtype.str, "shape": result.shape}
                found = result.data.cast("B") if result.size else b""
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who asked is told
            answer = {"error": _reason(error)}
        target.write(json.dumps({**answer, "bytes": len(found)}).encode() + b"\n")
        target.write(found)
        target.flush()


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, MemoryError) or "Failed to allocate memory" in text or "bad_alloc" in text:
        return "it needs more memory than it may have"
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text) or type(error).__name__


def _shapes(content: bytes) -> dict[str, list[int]]:
    import onnx

    model = onnx.ModelProto.FromString(content)
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, ValueError):  # beyond 2 GB, or contradictory
        graph = model.graph
    return {
        item.name: [side.dim_value for side in item.type.tensor_type.shape.dim]
        for item in (*graph.value_info, *graph.output)
    }


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _run(session: Any, question: dict[str, Any], content: bytes) -> np.ndarray:
    images = np.frombuffer(content, np.float32).reshape(question["shape"])
    (result,) = session.run([question["output"]], {question["input"]: images})
    if not isinstance(result, np.ndarray) or result.dtype.kind not in "fiub":
        raise TypeError(f"{question['output']} is no array of numbers")
    return np.ascontiguousarray(result)


def _bound(memory: int) -> None:
    """Take no more address space than this, where the system knows such a bound."""
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


if __name__ == "__main__":
    _bound(int(sys.argv[1]))
    serve(sys.stdin.buffer, sys.stdout.buffer)
