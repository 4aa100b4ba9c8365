"""Composites study, the workflow of `does-tip-help`: a detector for each number, arm and repeat, all evaluated alike."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.core.run_folder import find_run, read_card
from tlkit.core.text import count
from tlkit.data.images.sources import TEST
from tlkit.engine.training.estimates import untold
from tlkit.engine.training.progress import Reporter
from tlkit.errors import UsageFault
from tlkit.tasks.compositing.bags_workflow import draw_some
from tlkit.tasks.detection import evaluate_workflow as evaluation
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.studies import study as studies
from tlkit.tasks.studies.composites_data import CompositesData, TipQuestion, gather
from tlkit.tasks.studies.study import CELLS, Study, Telling, cell_name

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.boxes.augment_settings import BoxAugmentation
    from tlkit.engine.training.settings import Phase
    from tlkit.tasks.detection.metrics.matching import Detections
    from tlkit.tasks.detection.settings import Detecting, DetectorFitting
    from tlkit.tasks.studies.gains import Cell

FEW_GROUPS = 10  # of test images with an object: fewer give intervals that are too narrow


@dataclass(frozen=True)
class Training:
    """How every detector of the question is made, fitted and asked; see the workflow of the detectors' recipes."""

    backbone: str
    weights: str
    start: str | None
    image_size: int
    precision: str
    phases: tuple[Phase, ...]
    fitting: DetectorFitting
    augmentation: BoxAugmentation
    detecting: Detecting

    def steps(self, draws: int) -> int:
        """Steps of each training that draws so many images an epoch."""
        return sum(phase.epochs for phase in self.phases) * -(-draws // self.fitting.batch)


# --- Ingredients ---


def load_data(
    run: Run, source: str, question: TipQuestion, faults: str = "refuse", unlabelled: str = "error"
) -> CompositesData:
    """Split the images with boxes, and find what is pasted into the empty ones of training.

    Raises:
        UsageFault: The question contradicts itself, or --synthetic is given: what is added is the question.
        DataFault: See `load_data`, `gather` and `CompositesData`.
    """
    question.check()
    if run.split.more:
        raise UsageFault(
            f"--synthetic {run.split.more[0]} would be in every arm, and what is added is the question.",
            "Name crops with --threats and runs that synthesise with --generated.",
        )
    split = detection.load_data(run, source, faults, unlabelled, whole=True)
    data = CompositesData(run, split, question, gather(run, split, question))
    for sentence in _few_groups(data):
        run.say(f"Warning: {sentence}")
    return data


def _few_groups(data: CompositesData) -> list[str]:
    """A sentence where the bootstrap has too little to draw from, else none."""
    test, groups = data.split.take(TEST), data.split.groups_in(TEST)
    objects = {group for group, some in zip(groups, test.xyxy, strict=True) if len(some)}
    if len(objects) >= FEW_GROUPS:
        return []
    return [
        f"the test part has objects in {count(len(objects), 'group')} only; intervals are too narrow with so few."
    ]


def plan(run: Run, data: CompositesData, training: Training) -> dict[str, Any]:
    """What `--dry-run` shows: what every training learns from, and for how many steps.

    Raises:
        UsageFault: No phase has an epoch, or --warm-start is another network, which no training should wait to find out.
    """
    detection.check_phases(training.phases)
    if training.fitting.minutes or training.fitting.steps:  # of a copy of an earlier recipe
        raise UsageFault("--minutes and --steps are for recipes with one training.", "Use --epochs.")
    _check_start(run, data.question.detector, training)
    card, repeats = run.card(), range(data.question.repeats)
    shown = {
        "empty": len(data.empty),
        "real": {str(n): [len(data.chosen(n, r)) for r in repeats] for n in data.numbers},
        "composites": {
            laid.name: laid.composites for laid in data.threats if laid.kind in data.question.composing
        },
        "trainings": sum(len(data.arms(n)) for n in data.numbers) * data.question.repeats,
        "steps": training.steps(data.draws),
    }
    run.record(training=shown)
    return {
        "classes": card["classes"],
        "pictures": {part: summary["n"] for part, summary in card["data"]["parts"].items()},
        "arms": list(data.question.every_arm),
        **shown,
        "phases": [asdict(phase) for phase in training.phases],
        "time": untold("each training says its own; the first, times how many there are, is what to expect."),
    }


def _check_start(run: Run, detector: str, training: Training) -> None:
    if training.start is None:
        return
    place = find_run(training.start, Path(run.options["runs"]))
    its = read_card(place).get("model", {})
    made = (its.get("network"), its.get("backbone"))
    if made != (detector, training.backbone):
        raise UsageFault(
            f"--warm-start {training.start} is {made[0] or 'no detector'} on {made[1]}; every arm would be {detector} "
            f"on {training.backbone}.",
            "Give --detector and --backbone as that run has them, or leave --warm-start out.",
        )


# --- Cooking ---


class TipStudy(Study):
    """Detectors, each fitted, chosen on validation and asked once about the test part.

    Args:
        data: What all of them share.
        training: How each is made.
    """

    def __init__(self, data: CompositesData, training: Training) -> None:
        self.run, self.data, self.training = data.run, data, training
        self.question, self.numbers = data.question, data.numbers
        self.detecting = evaluation.enough(data.split, training.detecting)
        self.test = data.split.take(TEST)

    def arms(self, number: int) -> tuple[str, ...]:
        """The arms at a number."""
        return self.data.arms(number)

    def trained(self, number: int, arm: str, repeat: int) -> np.ndarray:
        """What a detector says of the test part that learned in one arm, as rows.

        Weights, order and augmentation begin from the repeat's seed, whatever was trained before.
        """
        run, training = self.run, self.training
        run.start_tensorflow()
        import keras

        from tlkit.tasks.detection.evaluate import found_on
        from tlkit.tasks.detection.fit import fit_detector
        from tlkit.tasks.studies.detection_gains import as_rows

        run.say(f"{number} real, {arm}, repeat {repeat + 1} of {self.question.repeats}:")
        seed = self.data.seed(repeat)
        keras.utils.set_random_seed(seed % 2**32)
        detector = self._detector()
        split = self.data.of_training(arm, number, repeat)
        checkpoints = run.folder.folder(CELLS) / f"{cell_name(number, arm, repeat)}-checkpoints"
        this = {"number": number, "arm": arm, "repeat": repeat}
        names = [phase.name for phase in training.phases]
        told = Reporter(run, split.digest, names, "detector", measure="AP50", training=this)
        fit_detector(
            detector,
            split,
            list(training.phases),
            training.fitting,
            checkpoints,
            seed=seed,
            augmentation=training.augmentation if training.augmentation.active else None,
            change=self.data.change(arm, detector.size),
            batch_norm=run.card()["model"]["weights"]["kind"] == "none",
            evaluator=partial(detection.by_precision, most=self.detecting.most),
            watchers=told.watchers(),
            draws=self.data.draws,
            most=self.detecting.most,
        )
        rows = as_rows(found_on(detector, self.test, self.detecting, training.fitting.batch))
        shutil.rmtree(checkpoints, ignore_errors=True)
        return rows

    def _detector(self) -> Any:
        """A detector that has learned nothing of this split yet."""
        how = self.training
        return detection.build_detector(
            self.run,
            self.data.split,
            how.backbone,
            how.weights,
            how.image_size,
            how.start,
            how.precision,
            kind=self.data.question.detector,
        )

    def evaluated(self, answer: np.ndarray) -> list[Detections]:
        """Detections of the test part."""
        from tlkit.tasks.studies.detection_gains import from_rows

        return from_rows(answer, len(self.test))

    def shown(self, answers: Sequence[Sequence[Detections]]) -> str:
        """AP50, the mean and each repeat's."""
        from tlkit.tasks.detection.metrics.summary import coco_measures

        reached = [coco_measures(self.test, one, self.detecting.most)["AP50"] or 0.0 for one in answers]
        each = ", ".join(f"{value:.3f}" for value in reached)
        return f"AP50 {sum(reached) / len(reached):.3f}  ({each})"

    def measured(self, answers: Mapping[tuple[int, str], Sequence[Sequence[Detections]]]) -> list[Cell]:
        """AP50 and recall at false alarms of every arm at every number."""
        from tlkit.tasks.studies.detection_gains import measure_detection_benefit

        groups = self.data.split.groups_in(TEST)
        return measure_detection_benefit(
            self.test, groups, answers, seed=self.run.seed, most=self.detecting.most
        )

    def told(self, cells: Sequence[Cell]) -> Telling:
        """A sentence for each arm, and what the figures do not say."""
        from tlkit.tasks.studies.detection_gains import MAIN, SCREENING, evaluated_classes
        from tlkit.tasks.studies.gains import interpretations

        classes = evaluated_classes(self.test)
        objects, groups = sum(map(len, self.test.xyxy)), set(self.data.split.groups_in(TEST))
        said = interpretations(cells, MAIN)
        if 0 in self.numbers:
            said.append(
                "Nothing added and no real image of a threat is nothing to learn from: no such training."
            )
        said += [*_blind(cells), *(f"But {sentence}" for sentence in _few_groups(self.data))]
        return Telling(
            "Does laying threats into bags help a detector?",
            f"Finding {', '.join(classes)}: {count(objects, 'object')} on {count(len(self.test), 'image')}, "
            f"{count(len(groups), 'group')}",
            (MAIN, *SCREENING),
            tuple(said),
            {**self.data.question.facts(), "detecting": asdict(self.detecting)},
            notes=tuple(_notes(self.data, self.training)),
            images=tuple(_images(self.run, self.data)),
            further=tuple(f"class {name}" for name in classes),
        )


def answer(run: Run, data: CompositesData, training: Training) -> list[Cell]:
    """Train and evaluate every arm at every number; what an earlier attempt answered is read, not done again."""
    evaluation.say_most(run, data.split, training.detecting)
    return studies.answer(run, TipStudy(data, training))


# --- Tasting and serving ---


def evaluate(run: Run, data: CompositesData, training: Training, cells: Sequence[Cell]) -> None:
    """Write benefit.csv, the curves, the report and the card, and say the interpretation."""
    studies.evaluate(run, TipStudy(data, training), cells)


def _blind(cells: Sequence[Cell]) -> list[str]:
    """A sentence for each number at which no detector finds anything: then nothing was compared."""
    from tlkit.tasks.studies.detection_gains import MAIN

    best: dict[int, float] = {}
    for cell in cells:
        best[cell.number] = max(best.get(cell.number, 0.0), cell.measures[MAIN].value)
    return [
        f"With {number} real images no arm finds anything, which says nothing about them: train longer (--epochs)."
        for number, value in best.items()
        if value == 0
    ]


def _notes(data: CompositesData, training: Training) -> list[str]:
    steps = training.steps(data.draws)
    notes = [
        f"Every training has {steps} steps of {training.fitting.batch} images, whatever it learns from, and the "
        f"same {count(len(data.empty), 'empty image')}; its best epoch is chosen on the same real validation "
        "part. Recall is at 0.1, 0.5 and 1 false alarms an image; the gain is in AP50 over nothing added, in the "
        "same draws of groups and repeats."
    ]
    drawn = {n: sorted({len(data.chosen(n, r)) for r in range(data.question.repeats)}) for n in data.numbers}
    if larger := {n: some for n, some in drawn.items() if some != [n]}:
        pairs = (f"{n} are {' or '.join(map(str, some))}" for n, some in larger.items())
        notes.append(f"Groups come whole, so that of real images {'; '.join(pairs)}.")
    return notes


def _images(run: Run, data: CompositesData) -> list[tuple[str, str]]:
    """Composites of the first repeat, of each source that an arm has used."""
    from tlkit.data.boxes.dataset import read_boxes
    from tlkit.data.boxes.synthetic import COMPOSITES

    drawn = []
    for laid in data.threats:
        home = run.folder.folder(CELLS) / f"{laid.name}-0"
        if home.is_dir():
            draw_some(run, read_boxes(home / COMPOSITES), f"{laid.name}.png")
            caption = f"Composites of {laid.threats.split.images.source} with their boxes."
            drawn.append((f"{laid.name}.png", caption))
    return drawn
