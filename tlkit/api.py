"""Python API: run a recipe, load a finished run, and ask it, from a notebook or a script.

    import tlkit

    run = tlkit.run("fine-tune", "photos/", name="screening", epochs=(30, 0, 0))
    run = tlkit.load("screening")
    run.predict("new.png")[0].label
    run.evaluate("other_photos/")["accuracy"]

What comes of it is what `tlkit run`, `predict`, `evaluate` and `run generate` come to, for it is they that do it. What a
person can mend is raised as a `TlkitError`; progress and notes go to stderr.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from tlkit.core.run_folder import RUNS, find_run, read_card

if TYPE_CHECKING:
    import numpy as np

    from tlkit.cli.execute import Ending
    from tlkit.core.run import Run
    from tlkit.engine.serving.saved_model import Loaded
    from tlkit.tasks.classification.serving.saved_model import Prediction
    from tlkit.tasks.detection.detections import Detections
    from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator


class FinishedRun:
    """A finished run, whatever it made; `load` and `run` give one of a kind that can do more.

    Attributes:
        path: Its folder.
        card: Its card.json: classes, options, measures and so on.
        classes: [k] names of its classes, in the order of probabilities; none where it has none.
    """

    what = "run"

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        self.path, self.card = path, card
        self.classes: tuple[str, ...] = tuple(card.get("classes") or ())

    def __repr__(self) -> str:
        return f"<tlkit {self.what} {self.path.as_posix()}>"

    def predict(self, images: Any, *, batch: int = 32, most_pixels: int | None = None) -> list[Any]:
        """What is on images; see `Classifier` and `Detector`.

        Raises:
            UsageFault, ModelFault: The run made neither.
        """
        from tlkit.cli.inference import load_served

        with _as_guest():
            return self._asked(load_served(self.path), images, "predicting", batch, most_pixels)

    def evaluate(self, source: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
        """Measures on images that the run has not learned from: what `tlkit evaluate RUN SOURCE --json` prints.

        Args:
            source: Labelled images, or images with boxes, as for `tlkit evaluate`.
            **options: Those of `tlkit evaluate`, such as group, skip_bad, batch, or a detector's unknown="drop".

        Raises:
            UsageFault, DataFault, ModelFault: Options, source or run cannot be used.
        """
        from tlkit.cli.commands.evaluate import evaluate, measured
        from tlkit.cli.execute import as_answer
        from tlkit.cli.keywords import context_of

        with _as_guest(), context_of(evaluate, "tlkit evaluate", [self.path, source], options) as context:
            context.params.pop("as_json")
            return as_answer(measured(**context.params))

    def generate(
        self, n: int, class_name: str | None = None, seed: int = 0, *, truncation: float = 1.0
    ) -> Any:
        """New images; see `Generator`.

        Raises:
            UsageFault: The run made no generator.
        """
        return _learned_classes(self, class_name)

    @property
    def _served(self) -> Any:
        """Its model, loaded; None where it has none."""
        return None

    def _asked(
        self, served: Loaded[Any], images: Any, text: str, batch: int, most_pixels: int | None
    ) -> list[Any]:
        """What a SavedModel says of images, under a bar."""
        from tlkit.cli.inference import ask, images_given
        from tlkit.cli.options.shared import served_limit
        from tlkit.data.images.decoding.pixel_limit import pixel_limit

        with pixel_limit(served_limit(self.path, self.card, most_pixels)):
            return ask(served, images_given(images), batch, text)


class Classifier(FinishedRun):
    """A finished run that made a classifier."""

    what = "classifier"

    @cached_property
    def _served(self) -> Loaded[Prediction]:
        from tlkit.cli.inference import load_served

        return load_served(self.path)

    def predict(self, images: Any, *, batch: int = 32, most_pixels: int | None = None) -> list[Prediction]:
        """Class names and probabilities of images: what `tlkit predict` prints, which rounds to 6 digits.

        Args:
            images: A path, of a file or of a folder (all images below); the contents of a file as bytes; pixels uint8
                [h, w, 3] or [n, h, w, 3], RGB; or several of these. An array is asked about as the PNG that it would be.
            batch: Images a step.
            most_pixels: Larger images are refused; None: as the run reads them.

        Returns:
            [n], of one image too: each with path, label, confidence and probabilities float32 [k], which stand in the
            order of `classes`; the path of what lies in no file is images[0] and so on. [] of [].

        Raises:
            DataFault: An image cannot be used.
        """
        with _as_guest():
            return self._asked(self._served, images, "predicting", batch, most_pixels)


class Found(NamedTuple):
    """What a detector finds in one image, the highest score first.

    Attributes:
        path: The file; images[0] and so on for what lies in none.
        boxes: float32 [m, 4]: left, top, right, bottom in pixels of the image, right and bottom exclusive.
        scores: float32 [m], 0..1.
        labels: [m] names of classes.
    """

    path: str
    boxes: np.ndarray
    scores: np.ndarray
    labels: tuple[str, ...]


class Detector(FinishedRun):
    """A finished run that made a detector."""

    what = "detector"

    @cached_property
    def _served(self) -> Loaded[Detections]:
        from tlkit.cli.inference import load_served

        found: Loaded[Detections] = load_served(self.path, detector=True)
        return found

    def predict(
        self,
        images: Any,
        *,
        threshold: float | None = None,
        batch: int = 32,
        most_pixels: int | None = None,
    ) -> list[Found]:
        """Boxes, scores and classes of what is on images: what `tlkit predict` prints, rounded there to 0.01 pixels.

        Args:
            images: As for `Classifier.predict`.
            threshold: Only boxes with this score; None: where F1 was best on the run's validation part.
            batch: Images a step.
            most_pixels: Larger images are refused; None: as the run reads them.

        Returns:
            [n], of one image too: each with path, boxes float32 [m, 4] (left, top, right, bottom in pixels of the image,
            right and bottom exclusive), scores float32 [m], the highest first, and labels, [m] names. [] of [].

        Raises:
            UsageFault: The threshold is below the least score that the run answers with.
            DataFault: An image cannot be used.
        """
        from tlkit.tasks.detection.predict_workflow import threshold_of, visible

        with _as_guest():
            least = threshold_of(self.path, self.card, threshold)
            found = self._asked(self._served, images, "finding", batch, most_pixels)
        return [
            Found(one.path, one.boxes, one.scores, tuple(self.classes[label] for label in one.labels))
            for one in (visible(one, least) for one in found)
        ]


class Generated(NamedTuple):
    """Images that a generator made.

    Attributes:
        images: Float32 [n, h, w, c], 0..1; c is 1 for grey, 3 for RGB.
        labels: [n] names of their classes.
    """

    images: np.ndarray
    labels: tuple[str, ...]


class Generator(FinishedRun):
    """A finished run that made a generator."""

    what = "generator"

    @cached_property
    def _served(self) -> ServedGenerator:
        from tlkit.core.device import import_tensorflow

        import_tensorflow()
        from tlkit.tasks.synthesis.serving.saved_model import ServedGenerator

        return ServedGenerator.load(self.path)

    def generate(
        self, n: int, class_name: str | None = None, seed: int = 0, *, truncation: float = 1.0
    ) -> Generated:
        """New images: those of `tlkit run generate RUN --samples n --class class_name --seed seed`.

        Args:
            n: How many.
            class_name: Of which class; None draws the class of each.
            seed: Image i follows from the seed and i alone.
            truncation: 1 as learned, towards 0 more alike.

        Raises:
            UsageFault: It never learned such a class, or n is below 0.
        """
        with _as_guest():
            _learned_classes(self, class_name)
            label = {} if class_name is None else {"label": self.classes.index(class_name)}
            answer = self._served.answer(n, seed=seed, truncation=truncation, **label)
        names = tuple(name.decode() for name in answer["label"].numpy())
        return Generated(answer["pictures"].numpy(), names)


def load(run: str | os.PathLike[str], *, runs: str | os.PathLike[str] = RUNS) -> FinishedRun:
    """A finished run, ready to answer: a `Classifier`, a `Detector`, a `Generator`, or a `FinishedRun` without a model.

    Args:
        run: NAME (its newest run), NAME/3, or a run's folder.
        runs: Where names are looked up.

    Raises:
        UsageFault: There is no such run, or it is unfinished.
        ModelFault: Its model cannot be read.
    """
    with _as_guest():
        found = _finished(find_run(os.fspath(run), Path(runs)))
        _ = found._served  # what is damaged is told now
        return found


@overload
def run(
    recipe: str | os.PathLike[str], *source: object, dry_run: Literal[True], **options: Any
) -> dict[str, Any]: ...
@overload
def run(recipe: str | os.PathLike[str], *source: object, **options: Any) -> FinishedRun: ...
def run(recipe: str | os.PathLike[str], *source: object, **options: Any) -> Any:
    """Run a recipe as `tlkit run RECIPE SOURCE` does, in this process, which is then as it was before.

    Two runs in one process come to the bits of two processes. An interrupt (KeyboardInterrupt) leaves the unfinished run
    where there is something to resume.

    Args:
        recipe: A name, or a file that ends in .py; see `tlkit recipes`.
        *source: What stands without an option: for most recipes the source.
        **options: The recipe's options with underscores: epochs=(30, 0, 0), name="x", augment=False; `class_` for
            --class. yours=True or shipped=True as on the command line.

    Returns:
        The finished run, as `load` gives it; with dry_run=True the plan, as --json prints it.

    Raises:
        TlkitError: What the command would say in one sentence, of options, data, model or machine.
    """
    from tlkit.cli.commands.run import run as recipes
    from tlkit.cli.execute import as_answer
    from tlkit.cli.keywords import context_of

    flags: dict[str, Any] = {flag: options.pop(flag) for flag in ("yours", "shipped") if flag in options}
    with _as_guest(), context_of(recipes, "tlkit run", [], flags) as above:
        above.obj = _carry_out
        name, command, _ = recipes.resolve_command(above, [os.fspath(recipe)])
        with context_of(command, str(name), source, options, above) as context:
            ending: Ending = command.invoke(context)
    if ending.answer["status"] != "finished":
        return as_answer(ending.answer)
    return _finished(Path(ending.answer["run"]))


def _carry_out(run: Run, function: Callable[[], object]) -> Ending:
    """Bring a run to its end as a guest: what Keras had counted and set is there again afterwards."""
    from tlkit.cli.execute import carry_out, show_stop_of
    from tlkit.core.session import fresh_session

    with fresh_session():
        return carry_out(run, function, partial(show_stop_of, run, as_json=False), alone=False)


def _finished(path: Path) -> FinishedRun:
    """A run by the kind of what it made; the card of a classifier names no kind."""
    card = read_card(path)
    kinds: dict[Any, type[FinishedRun]] = {"detector": Detector, "generator": Generator}
    plain = Classifier if (path / "saved_model.pb").is_file() else FinishedRun
    return kinds.get(card.get("kind"), plain)(path, card)


def _learned_classes(found: FinishedRun, class_name: str | None) -> tuple[str, ...]:
    from tlkit.tasks.synthesis.generate_workflow import learned_classes

    return learned_classes(str(found.path), found.card, [] if class_name is None else [class_name])


@contextmanager
def _as_guest() -> Iterator[None]:
    """Raise what a command would tell; leave the process as it was.

    Raises:
        TlkitError: What a person can mend.
    """
    from tlkit.cli.faults import raising_faults
    from tlkit.core.session import settings_kept

    with settings_kept(), raising_faults():
        yield
