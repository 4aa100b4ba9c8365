"""What a person, metrics.jsonl and TensorBoard are told while a classifier learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run

if TYPE_CHECKING:
    import keras

    from tlkit.data.images.splits import Split


class Reporter:
    """Tells the table, metrics.jsonl and TensorBoard of each epoch.

    Args:
        run: Of the recipe.
        model: For the graph.
        split: What is learned.
        phases: Names of all that may run, in their order.
    """

    def __init__(self, run: Run, model: keras.Model, split: Split, phases: Sequence[str]) -> None:
        from tlkit.engine.reporting.tensorboard import TensorBoard

        self.run, self.digest = run, split.digest
        self.rows = run.folder.metrics() if run.resumed else []
        self.phases, self.planned = list(phases), 0
        self.tensorboard = TensorBoard(
            run.folder.folder("tensorboard"), split.images.class_names, len(self.rows)
        )
        self.tensorboard.add_graph(model)
        self.tensorboard.close()

    def watchers(self) -> Any:
        """What the fitting tells."""
        from tlkit.engine.training.fit import Watchers

        return Watchers(start=self.start, step=self.run.table.step, epoch=self.epoch, close=self.close)

    def start(self, phase: str, epochs: int, steps: int, first: int) -> None:
        """Forget rows that were written after the last checkpoint, then begin the phase."""
        earlier = set(self.phases[: self.phases.index(phase)])
        self.planned = epochs
        kept = [
            r for r in self.rows if r["phase"] in earlier or (r["phase"] == phase and r["epoch"] <= first)
        ]
        if len(kept) < len(self.rows):
            self.tensorboard.close()
            self.run.folder.rewrite_metrics(kept)
        self.rows = kept
        self.tensorboard.epoch = len(kept)
        self.run.table.start(phase, epochs, steps)

    def epoch(self, row: dict[str, Any], confusion: Any) -> None:
        """Write a row down and show it."""
        row = {**row, "split_sha256": self.digest}
        self.rows.append(row)
        self.run.folder.append_metrics(row)
        logs = {
            "loss": row["training_loss"],
            "val_loss": row.get("validation_loss"),
            "val_accuracy": row.get("validation_accuracy"),
        }
        self.run.table.epoch(row["phase"], row["epoch"], self.planned, logs, row["best"], row["seconds"])
        self.tensorboard.add_epoch(row, confusion)

    def close(self) -> None:
        """End the phase: the table, and the event files until the next one."""
        self.run.table.close()
        self.tensorboard.close()
