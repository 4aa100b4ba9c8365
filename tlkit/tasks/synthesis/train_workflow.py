"""The game between generator and critic as a chapter: played, judged at checkpoints, the best kept."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.data.images.sources import TRAINING, VALIDATION
from tlkit.data.images.synthetic import SETTLED
from tlkit.errors import RunFailed
from tlkit.tasks.classification.workflow import CHECKPOINTS
from tlkit.tasks.synthesis.workflow import SHOWN, Length, Subject

if TYPE_CHECKING:
    import numpy as np

    from tlkit.tasks.features.extract import Featurizer
    from tlkit.tasks.synthesis.gan import Game

JUDGED = 128  # fakes that a checkpoint is judged by
PATIENCE = 3  # checkpoints in a row that a critic must have won before the game is called lost


class Judge:
    """Features of pictures for the measures; those of the real ones are computed once."""

    def __init__(self, run: Run, name: str, subject: Subject) -> None:
        from tlkit.tasks.features.workflow import built_extractor

        self.featurizer: Featurizer
        self.featurizer, self.source = built_extractor(run, name)
        self.pictures = subject.pictures
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [n, d] of pictures [n, s, s, c] in 0..1."""
        from tlkit.tasks.features.extract import features_of_pictures

        return features_of_pictures(self.featurizer, pictures)

    def real(self, part: str) -> np.ndarray:
        """float32 [n, d] of the real pictures of a part."""
        if part not in self._known:
            self._known[part] = self(self.pictures[part])
        return self._known[part]


def play(run: Run, game: Game, subject: Subject, length: Length, judge: Judge) -> None:
    """Let generator and critic learn from the training part; every now and then judge the fakes on validation.

    The generator ends with the weights of the checkpoint whose KID against validation was lowest, of those since the
    game was begun, or begun again because the generator had collapsed.

    Raises:
        RunFailed: The game diverged twice, or the generator collapsed three times; the run stays unfinished.
    """
    from tlkit.engine.training.checkpoints import load_variables
    from tlkit.tasks.synthesis.fit import GameWatchers, fit_game

    folder = run.folder.folder(CHECKPOINTS)
    referee = _Referee(run, subject, judge, folder, length)
    with run.progress("steps", length.steps) as step:

        def moved(done: int, _total: int, logs: dict[str, float]) -> None:
            step(done)
            referee.watch(logs)

        result = fit_game(
            game,
            subject.pictures[TRAINING],
            subject.labels[TRAINING] if len(subject.class_names) > 1 else None,
            steps=length.steps,
            minutes=length.minutes,
            folder=folder,
            every=length.every,
            names=_files(subject),
            watchers=GameWatchers(step=moved, checkpoint=referee.checkpoint, note=run.say),
        )
    referee.close()
    best = referee.best(game.begun)
    referee.check_various(game)
    if best and (folder / "best.npz").is_file():
        load_variables(folder / "best.npz", game.average.variables)
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
    """The files of the pictures that are learned from, in their order."""
    images = subject.split.images
    chosen = [
        i
        for i in subject.split.indices(TRAINING)
        if images.class_names[images.labels[i]] in subject.class_names
    ]
    return [images.paths[i] for i in chosen]


class _Referee:
    """Judges the fakes at each checkpoint: a row for metrics.jsonl, TensorBoard, the best kept, an alarm."""

    def __init__(self, run: Run, subject: Subject, judge: Judge, folder: Path, length: Length) -> None:
        from tlkit.engine.reporting.tensorboard import ScalarBoard

        self.run, self.subject, self.judge, self.folder, self.length = run, subject, judge, folder, length
        self.rows = run.folder.metrics() if run.resumed else []
        self.board = ScalarBoard(run.folder.folder("tensorboard") / "game")
        self.logs: dict[str, float] = {}

    def since(self, begun: int) -> list[dict[str, Any]]:
        """The rows of the networks as they are: those since a step, after which they were begun again, or all."""
        return [row for row in self.rows if row.get("begun", 0) == begun]

    def watch(self, logs: dict[str, float]) -> None:
        self.logs = logs

    def best(self, begun: int) -> dict[str, Any] | None:
        return min(self.since(begun), key=lambda row: row["kid"], default=None)

    def checkpoint(self, step: int, game: Game) -> str | None:
        """Judge the average generator as it stands; returns why the game should end, or None."""
        from tlkit.engine.training.checkpoints import save_variables
        from tlkit.tasks.synthesis.latents import random_labels, random_latents, sample
        from tlkit.tasks.synthesis.metrics.summary import kid

        if any(
            row["step"] >= step for row in self.rows
        ):  # written after the checkpoint that a resume began from
            self.rows = [row for row in self.rows if row["step"] < step]
            self.board.close()
            self.run.folder.rewrite_metrics(self.rows)
        labels = random_labels(game.average, JUDGED, self.run.seed)
        fakes = sample(game, random_latents(game, JUDGED, self.run.seed), labels=labels)
        found = self.judge(fakes)
        distance = kid(self.judge.real(VALIDATION), found, seed=self.run.seed)
        row = self._row(step, game, distance, fakes, labels)
        earlier = self.since(game.begun)
        reason = self._reason([*earlier, row], found)
        row["various"] = reason is None
        if all(row["kid"] < other["kid"] for other in earlier):
            save_variables(self.folder / "best.npz", game.average.variables, {"step": step})
        self.rows.append(row)
        self.run.folder.append_metrics(row)
        self._tell(row, fakes)
        return self._alarm(step - game.begun, reason, earlier)

    def _reason(self, rows: list[dict[str, Any]], found: np.ndarray) -> str | None:
        """Why the game has collapsed, or None. A critic often wins for a while and is caught up with again."""
        from tlkit.tasks.synthesis.metrics.summary import CriticAnswers, collapse_reason

        late = rows[-PATIENCE:]
        answers = None
        if len(late) == PATIENCE:
            # A mean sign of -1..1 is twice the share of pictures taken for real, less 1.
            real, fake, held_out = (
                [(some[name] + 1) / 2 for some in late]
                for name in ("sign_training", "sign_fake", "sign_held_out")
            )
            answers = CriticAnswers(min(real), max(fake), min(held_out))
        return collapse_reason(self.judge.real(TRAINING), found, answers)

    def _alarm(self, done: int, reason: str | None, earlier: list[dict[str, Any]]) -> str | None:
        """What ends the game after so many steps of these networks, or begins it again.

        Fakes that were various once are kept. Those that never were are given half of the game to become so; then it
        is begun again.
        """
        from tlkit.tasks.synthesis.total_collapse import Collapse

        if reason is None or any(row["various"] for row in earlier):
            return reason
        late = self.length.minutes is None and 2 * done >= self.length.steps
        return None if not late else Collapse(reason) if done >= SETTLED else reason

    def _row(
        self, step: int, game: Game, distance: Any, fakes: np.ndarray, labels: np.ndarray
    ) -> dict[str, Any]:
        pictures, known = self.subject.pictures, self.subject.labels
        logs = {key: float(value) for key, value in self.logs.items()}
        return {
            "phase": "game",
            "step": step,
            **({"begun": game.begun} if game.begun else {}),
            "kid": float(distance.value),
            "kid_low": float(distance.low),
            "kid_high": float(distance.high),
            **logs,
            "sign_fake": _mean_sign(game, fakes, labels),
            "sign_held_out": _mean_sign(game, pictures[VALIDATION], known[VALIDATION]),
            "sign_training": _mean_sign(game, pictures[TRAINING], known[TRAINING]),
        }

    def _tell(self, row: dict[str, Any], fakes: np.ndarray) -> None:
        import numpy as np

        total = f"/{self.length.steps}" if self.length.minutes is None else ""
        self.run.say(
            f"step {row['step']:>6}{total}  critic {row.get('critic_loss', float('nan')):7.3f}  "
            f"generator {row.get('generator_loss', float('nan')):7.3f}  p {row.get('p', 0.0):.2f}  "
            f"KID {row['kid']:+.4f} ({row['kid_low']:+.4f} to {row['kid_high']:+.4f})  "
            f"{row.get('images_per_second', 0.0):.0f} images/s"
        )
        reals = self.subject.pictures[TRAINING][:SHOWN]
        self.board.add_sheet("reals above fakes", np.concatenate([reals, fakes[:SHOWN]]), row["step"])
        self.board.add(row, len(self.rows))

    def check_various(self, game: Game) -> None:
        """Refuse to end with networks whose samples never were various: a game by --minutes is not begun again.

        Raises:
            RunFailed: They never were, after as many steps as it takes to tell.
        """
        from tlkit.tasks.synthesis.fit import REMEDY

        rows = self.since(game.begun)
        if rows and rows[-1]["step"] - game.begun >= SETTLED and not any(row["various"] for row in rows):
            raise RunFailed("The generator has collapsed: its samples never were various.", REMEDY)

    def close(self) -> None:
        self.board.close()


def _mean_sign(game: Game, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Mean sign of the critic, -1..1: far apart for training pictures and other real ones, it overfits."""
    import numpy as np

    return float(np.sign(game.critic_scores(pictures, labels)).mean())
