"""Training of a GAN as a step of its workflow: evaluated at checkpoints, the best kept."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.data.images.synthetic import SETTLED
from tlkit.engine.training.progress import Metrics
from tlkit.engine.training.settings import CHECKPOINTS
from tlkit.errors import RunFailed
from tlkit.tasks.synthesis.workflow import SHOWN, Length, Subject

if TYPE_CHECKING:
    import numpy as np

    from tlkit.tasks.features.extract import Featurizer
    from tlkit.tasks.synthesis.gan import Gan

EVALUATED = 128  # fakes that a checkpoint is evaluated by
PATIENCE = 3  # checkpoints in a row that a discriminator must have won before the GAN is called lost


class Evaluator:
    """Features of images for the measures; those of the real ones are computed once."""

    def __init__(self, run: Run, name: str, subject: Subject) -> None:
        from tlkit.tasks.features.workflow import built_extractor

        self.featurizer: Featurizer
        self.featurizer, self.source = built_extractor(run, name)
        self.images = subject.images
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 [n, d] of images [n, s, s, c] in 0..1."""
        from tlkit.tasks.features.extract import features_of_images

        return features_of_images(self.featurizer, images)

    def real(self, part: str) -> np.ndarray:
        """float32 [n, d] of the real images of a part."""
        if part not in self._known:
            self._known[part] = self(self.images[part])
        return self._known[part]


def play(run: Run, gan: Gan, subject: Subject, length: Length, evaluator: Evaluator) -> None:
    """Let generator and discriminator learn from the training part; every now and then evaluate the fakes on validation.

    The generator ends with the weights of the checkpoint whose KID against validation was lowest, of those since the
    GAN was begun, or begun again because the generator had collapsed.

    Raises:
        RunFailed: The GAN diverged twice, or the generator collapsed three times; the run stays unfinished.
    """
    from tlkit.engine.training.checkpoints import BEST, load_variables
    from tlkit.tasks.synthesis.fit import GanWatchers, fit_gan

    folder = run.folder.folder(CHECKPOINTS)
    referee = _Referee(run, subject, evaluator, folder, length)
    with run.progress("steps", length.steps) as step:

        def moved(done: int, _total: int, logs: dict[str, float]) -> None:
            step(done)
            referee.logs = logs

        result = fit_gan(
            gan,
            subject.images[TRAINING],
            subject.labels[TRAINING] if len(subject.class_names) > 1 else None,
            steps=length.steps,
            minutes=length.minutes,
            folder=folder,
            every=length.every,
            names=_files(subject),
            watchers=GanWatchers(step=moved, checkpoint=referee.checkpoint, note=run.say),
        )
    referee.tensorboard.close()
    best = referee.best(gan.begun)
    referee.check_various(gan)
    if best and (folder / BEST).is_file():
        load_variables(folder / BEST, gan.average.variables)
    run.record(
        game={
            **asdict(result),
            "best_step": best["step"] if best else result.steps,
            "chosen_by": "lowest KID against validation",
        }
    )
    rate = result.images / max(result.seconds, 1e-9)
    run.say(
        f"Played {result.steps} steps in {result.seconds:.0f} s, {rate:.0f} images/s; {result.stopped}. "
        f"Kept: step {best['step'] if best else result.steps}."
    )


def _files(subject: Subject) -> list[str]:
    """The files of the images that are learned from, in their order."""
    images = subject.split.images
    chosen = [
        i
        for i in subject.split.indices(TRAINING)
        if images.class_names[images.labels[i]] in subject.class_names
    ]
    return [images.paths[i] for i in chosen]


class _Referee(Metrics):
    """Evaluates the fakes at each checkpoint: a row for metrics.jsonl, TensorBoard, the best kept, an alarm."""

    def __init__(
        self, run: Run, subject: Subject, evaluator: Evaluator, folder: Path, length: Length
    ) -> None:
        super().__init__(run, "game", goes_on=run.resumed)
        self.subject, self.evaluator, self.folder, self.length = subject, evaluator, folder, length
        self.logs: dict[str, float] = {}

    def since(self, begun: int) -> list[dict[str, Any]]:
        """The rows of the networks as they are: those since a step, after which they were begun again, or all."""
        return [row for row in self.rows if row.get("begun", 0) == begun]

    def best(self, begun: int) -> dict[str, Any] | None:
        return min(self.since(begun), key=lambda row: row["kid"], default=None)

    def checkpoint(self, step: int, gan: Gan) -> str | None:
        """Evaluate the average generator as it stands; returns why the GAN should end, or None."""
        from tlkit.engine.training.checkpoints import BEST, save_variables
        from tlkit.tasks.synthesis.latents import random_labels, random_latents, sample
        from tlkit.tasks.synthesis.metrics.kid import kid

        self.forget(lambda row: row["step"] < step)
        labels = random_labels(gan.average, EVALUATED, self.run.seed)
        fakes = sample(gan, random_latents(gan, EVALUATED, self.run.seed), labels=labels)
        found = self.evaluator(fakes)
        distance = kid(self.evaluator.real(VALIDATION), found, seed=self.run.seed)
        row = self._row(step, gan, distance, fakes, labels)
        earlier = self.since(gan.begun)
        reason = self._reason([*earlier, row], found)
        row["various"] = reason is None
        if all(row["kid"] < other["kid"] for other in earlier):
            save_variables(self.folder / BEST, gan.average.variables, {"step": step})
        self.add(row)
        self._tell(row, fakes)
        return self._alarm(step - gan.begun, reason, earlier)

    def _reason(self, rows: list[dict[str, Any]], found: np.ndarray) -> str | None:
        """Why the GAN has collapsed, or None. A discriminator often wins for a while and is caught up with again."""
        from tlkit.tasks.synthesis.metrics.collapse import DiscriminatorAnswers, collapse_reason

        late = rows[-PATIENCE:]
        answers = None
        if len(late) == PATIENCE:
            # A mean sign of -1..1 is twice the share of images taken for real, less 1.
            real, fake, held_out = (
                [(some[name] + 1) / 2 for some in late]
                for name in ("sign_training", "sign_fake", "sign_held_out")
            )
            answers = DiscriminatorAnswers(min(real), max(fake), min(held_out))
        return collapse_reason(self.evaluator.real(TRAINING), found, answers)

    def _alarm(self, done: int, reason: str | None, earlier: list[dict[str, Any]]) -> str | None:
        """What ends the GAN after so many steps of these networks, or begins it again.

        Fakes that were various once are kept. Those that never were are given half of the GAN to become so; then it
        is begun again.
        """
        from tlkit.tasks.synthesis.total_collapse import Collapse

        if reason is None or any(row["various"] for row in earlier):
            return reason
        late = self.length.minutes is None and 2 * done >= self.length.steps
        return None if not late else Collapse(reason) if done >= SETTLED else reason

    def _row(
        self, step: int, gan: Gan, distance: Any, fakes: np.ndarray, labels: np.ndarray
    ) -> dict[str, Any]:
        images, known = self.subject.images, self.subject.labels
        logs = {key: float(value) for key, value in self.logs.items()}
        return {
            "phase": "game",
            "step": step,
            **({"begun": gan.begun} if gan.begun else {}),
            "kid": float(distance.value),
            "kid_low": float(distance.low),
            "kid_high": float(distance.high),
            **logs,
            "sign_fake": _mean_sign(gan, fakes, labels),
            "sign_held_out": _mean_sign(gan, images[VALIDATION], known[VALIDATION]),
            "sign_training": _mean_sign(gan, images[TRAINING], known[TRAINING]),
        }

    def _tell(self, row: dict[str, Any], fakes: np.ndarray) -> None:
        import numpy as np

        total = f"/{self.length.steps}" if self.length.minutes is None else ""
        self.run.say(
            f"step {row['step']:>6}{total}  discriminator {row.get('critic_loss', float('nan')):7.3f}  "
            f"generator {row.get('generator_loss', float('nan')):7.3f}  p {row.get('p', 0.0):.2f}  "
            f"KID {row['kid']:+.4f} ({row['kid_low']:+.4f} to {row['kid_high']:+.4f})  "
            f"{row.get('images_per_second', 0.0):.0f} images/s"
        )
        reals = self.subject.images[TRAINING][:SHOWN]
        self.tensorboard.add_grid("reals above fakes", np.concatenate([reals, fakes[:SHOWN]]), row["step"])

    def check_various(self, gan: Gan) -> None:
        """Refuse to end with networks whose samples never were various: a GAN by --minutes is not begun again.

        Raises:
            RunFailed: They never were, after as many steps as it takes to tell.
        """
        from tlkit.tasks.synthesis.fit import REMEDY

        rows = self.since(gan.begun)
        if rows and rows[-1]["step"] - gan.begun >= SETTLED and not any(row["various"] for row in rows):
            raise RunFailed("The generator has collapsed: its samples never were various.", REMEDY)


def _mean_sign(gan: Gan, images: np.ndarray, labels: np.ndarray) -> float:
    """Mean sign of the discriminator, -1..1: far apart for training images and other real ones, it overfits."""
    import numpy as np

    return float(np.sign(gan.discriminator_scores(images, labels)).mean())
