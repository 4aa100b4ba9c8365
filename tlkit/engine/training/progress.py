"""Progress of a training: what a person, metrics.jsonl and TensorBoard are told while something learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run

if TYPE_CHECKING:
    import numpy as np

    from tlkit.engine.training.fit import Watchers


class Metrics:
    """The rows of metrics.jsonl, and TensorBoard, which shows them.

    Args:
        run: Of the recipe.
        tensorboard: Name of the event folder of images.
        class_names: For the confusion matrix on TensorBoard.
        goes_on: Whether there are rows of before.
    """

    def __init__(self, run: Run, tensorboard: str, class_names: Sequence[str] = (), *, goes_on: bool) -> None:
        from tlkit.engine.reporting.tensorboard import TensorBoard

        self.run = run
        self.rows = run.folder.metrics() if goes_on else []
        self.tensorboard = TensorBoard(run.folder.folder("tensorboard"), tensorboard, class_names)

    def forget(self, stays: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the rows that were written after the checkpoint from which a training goes on."""
        kept = [row for row in self.rows if stays(row)]
        if len(kept) < len(self.rows):
            self.tensorboard.close()
            self.run.folder.rewrite_metrics(kept)
        self.rows = kept

    def add(self, row: dict[str, Any], confusion: np.ndarray | None = None) -> None:
        """Write a row down, and show it with the confusion counts int [k, k] of validation, if there are any."""
        self.rows.append(row)
        self.run.folder.append_metrics(row)
        self.tensorboard.add(row, len(self.rows), confusion)


class Reporter(Metrics):
    """Tells the table, metrics.jsonl and TensorBoard of each epoch.

    Args:
        run: Of the recipe.
        digest: Of the split, in every row.
        phases: Names of all that may run, in their order.
        tensorboard: Name of the event folder of images.
        class_names: For the confusion matrix on TensorBoard.
        measure: By which epochs are told apart: "accuracy" or "AP50".
        training: What tells this training from the others of the run, in every row; it names the event folder then.
    """

    def __init__(
        self,
        run: Run,
        digest: str,
        phases: Sequence[str],
        tensorboard: str,
        class_names: Sequence[str] = (),
        *,
        measure: str = "accuracy",
        training: dict[str, Any] | None = None,
    ) -> None:
        self.digest, self.phases, self.planned = digest, list(phases), 0
        self.training = training or {}
        place = "-".join(map(str, self.training.values())) or tensorboard
        super().__init__(run, place, class_names, goes_on=bool(run.resumed or training))
        run.table.measure = measure

    def watchers(self) -> Watchers:
        """What the fitting tells."""
        from tlkit.engine.training.fit import Watchers

        return Watchers(start=self.start, step=self.run.table.step, epoch=self.epoch, close=self.close)

    def start(self, phase: str, epochs: int, steps: int, first: int) -> None:
        """Forget rows that were written after the last checkpoint, then begin the phase."""
        earlier = set(self.phases[: self.phases.index(phase)])
        self.planned = epochs
        self.forget(
            lambda row: (
                row["phase"] in earlier
                or (row["phase"] == phase and row["epoch"] <= first)
                or any(row.get(name) != value for name, value in self.training.items())
            )
        )
        self.run.table.start(phase, epochs, steps)

    def epoch(self, row: dict[str, Any], confusion: np.ndarray) -> None:
        """Write a row down and show it."""
        row = {**self.training, **row, "split_sha256": self.digest}
        self.add(row, confusion)
        logs = {"loss": row.get("training_loss"), "val_loss": row.get("validation_loss")}
        measure = self.run.table.measure
        logs[f"val_{measure}"] = row.get(f"validation_{measure}")
        best = bool(row.get("best"))
        self.run.table.epoch(row["phase"], row["epoch"], self.planned, logs, best, row["seconds"])

    def close(self) -> None:
        """End the phase: the table, and the event files until the next one."""
        self.run.table.close()
        self.tensorboard.close()
