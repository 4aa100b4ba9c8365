"""What a person, metrics.jsonl and TensorBoard are told while a detector learns, and the first batch, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING

if TYPE_CHECKING:
    import keras

    from tlkit.data.boxes.splits import BoxSplit
    from tlkit.engine.training.settings import Phase
    from tlkit.tasks.detection.settings import DetectorFitting


class Reporter:
    """Tells the table, metrics.jsonl and TensorBoard of each epoch.

    Args:
        run: Of the recipe.
        split: What is learned.
        phases: Of the training.
        training: What tells this training from the others of the run, in every row; none where there is one alone.
    """

    def __init__(
        self, run: Run, split: BoxSplit, phases: Sequence[Phase], training: dict[str, Any] | None = None
    ) -> None:
        from tlkit.engine.reporting.tensorboard import ScalarTensorBoard

        self.run, self.digest, self.training = run, split.digest, training or {}
        self.rows = run.folder.metrics() if run.resumed or training else []
        self.epochs = {phase.name: phase.epochs for phase in phases}
        name = "-".join(map(str, self.training.values())) or "detector"
        self.tensorboard = ScalarTensorBoard(run.folder.folder("tensorboard") / name)

    def watchers(self) -> Any:
        """What the fitting tells."""
        from tlkit.engine.training.fit import Watchers

        table = self.run.table
        table.measure = "AP50"
        return Watchers(start=self.start, step=table.step, epoch=self.epoch, close=self.close)

    def start(self, phase: str, epochs: int, steps: int, first: int) -> None:
        """Forget rows that were written after the last checkpoint, then begin the phase."""
        order = list(self.epochs)
        earlier = set(order[: order.index(phase)])
        self.rows = [
            r
            for r in self.rows
            if r["phase"] in earlier
            or (r["phase"] == phase and r["epoch"] <= first)
            or any(r.get(name) != value for name, value in self.training.items())
        ]
        self.tensorboard.close()
        self.run.folder.rewrite_metrics(self.rows)
        self.run.table.start(phase, epochs, steps)

    def epoch(self, row: dict[str, Any], _confusion: Any) -> None:
        """Write a row down and show it."""
        row = {**self.training, **row, "split_sha256": self.digest}
        self.rows.append(row)
        self.run.folder.append_metrics(row)
        logs = {
            "loss": row.get("training_loss"),
            "val_loss": row.get("validation_loss"),
            "val_AP50": row.get("validation_AP50"),
        }
        self.run.table.epoch(
            row["phase"],
            row["epoch"],
            self.epochs[row["phase"]],
            logs,
            bool(row.get("best")),
            row["seconds"],
        )
        self.tensorboard.add(row, len(self.rows))

    def close(self) -> None:
        """End the phase: the table, and the event files until the next one."""
        self.run.table.close()
        self.tensorboard.close()


def draw_first_batch(
    run: Run,
    detector: keras.Model,
    split: BoxSplit,
    fitting: DetectorFitting,
    changes: dict[str, Any],
) -> None:
    """Draw the first training batch as the network sees it."""
    import numpy as np

    from tlkit.data.boxes.batches import training_box_batches
    from tlkit.data.boxes.splits import strata
    from tlkit.data.images.batches import Order
    from tlkit.engine.reporting.lettering import writable
    from tlkit.engine.reporting.style import save
    from tlkit.tasks.detection.reporting.plots import labelled_batch

    training = split.take(TRAINING)
    order = Order(strata(training), max(fitting.batch, 8), run.seed, "preview")
    batches = training_box_batches(training, order, detector.size, 1, memory=0, **changes)
    pixels, truth = next(iter(batches))
    labels = [np.asarray(one) for one in truth["classes"]]
    figure = labelled_batch(
        pixels.numpy(), [np.asarray(one) for one in truth["boxes"]], labels, writable(split.boxes.class_names)
    )
    save(figure, run.folder.folder("pictures") / "batch.png")
