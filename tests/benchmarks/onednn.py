"""Which setting of TF_ENABLE_ONEDNN_OPTS is faster on this machine: images a second with oneDNN against without.

    python -m tests.benchmarks.onednn [--pairs 5]

One process under each setting builds EfficientNet-Lite0 (224 pixels, batch 32, random weights, all layers learn) and
traces it; then they work in turn, in an order that alternates, while the other one waits. A row of wall time says what
a person waits for; the one of processor time (of all threads) says what other work on the machine hardly moves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from tests.benchmarks.measuring import ROOT, Comparison, in_turn, main

NETWORK, SIZE, BATCH, STEPS = "efficientnet-lite0", 224, 32, 2
SETTINGS = {"off": "0", "on": "1"}
TASKS = ("training", "prediction")


def measure(_source: str, pairs: int = 5, *, network: str = NETWORK, size: int = SIZE) -> list[Comparison]:
    """Two rows for each of training and prediction; the "rival" is TensorFlow without oneDNN."""
    rows = []
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(value, network, size)) for name, value in SETTINGS.items()
        }
        for task in TASKS:
            busy: dict[str, list[float]] = {name: [] for name in SETTINGS}

            def work(name: str, task: str = task, busy: dict[str, list[float]] = busy) -> float:
                wall, processor = workers[name].work(task)
                busy[name].append(BATCH * STEPS / processor)
                return BATCH * STEPS / wall

            ways = {name: lambda name=name, work=work: work(name) for name in SETTINGS}
            walls = in_turn(ways, pairs)
            claim = f"oneDNN, {task} of {network}, {size} pixels, batch {BATCH}"
            rows.append(Comparison(f"{claim}, wall", "images/s", walls["off"], walls["on"]))
            off, on = (tuple(busy[name]) for name in SETTINGS)
            rows.append(Comparison(f"{claim}, processor", "images/s", off, on))
    return rows


class Worker:
    """A process under one setting, which does a task when it is asked and waits in between."""

    def __init__(self, setting: str, network: str, size: int) -> None:
        self.command = [sys.executable, "-m", "tests.benchmarks.onednn", "work", network, str(size)]
        self.setting = setting

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": self.setting},
        )
        computes = self._answer()
        assert computes is (self.setting == "1"), "the setting does nothing with this TensorFlow"
        return self

    def work(self, task: str) -> tuple[float, float]:
        """Seconds on the wall and of the processor."""
        self.process.stdin.write(f"{task}\n")
        self.process.stdin.flush()
        wall, processor = self._answer()
        return wall, processor

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, f"the process with TF_ENABLE_ONEDNN_OPTS={self.setting} has ended"
        return json.loads(line)

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(network: str, size: int) -> None:
    """What the process does: say whether oneDNN computes, then do the tasks that come in."""
    from tlkit.core.device import computes_with_onednn, import_tensorflow

    import_tensorflow()
    tasks = made(network, size)
    print(json.dumps(computes_with_onednn()), flush=True)
    for line in sys.stdin:
        wall, busy = time.perf_counter(), time.process_time()
        tasks[line.strip()]()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - busy]), flush=True)


def made(network: str, size: int) -> dict[str, Callable[[], object]]:
    """The tasks, traced and warm; each is `STEPS` steps."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tlkit.backbones.feature_model import unfreeze
    from tlkit.tasks.classification.classifier import build_classifier

    model, _ = build_classifier(network, tuple("abcd"), size, weights="none")
    unfreeze(model, "all", network, batch_norm=True)
    model.compile(
        keras.optimizers.Adam(1e-4, global_clipnorm=1.0), "categorical_crossentropy", jit_compile=False
    )
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (BATCH, size, size, 3), np.uint8)
    batches = tf.data.Dataset.from_tensors((pixels, tf.one_hot(random.integers(0, 4, BATCH), 4))).repeat()
    tasks = {
        "training": lambda: model.fit(batches, steps_per_epoch=STEPS, verbose=0),
        "prediction": lambda: model.predict(batches, steps=STEPS, verbose=0),
    }
    for task in tasks.values():
        task()
    return tasks


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main(measure, __doc__ or "")
