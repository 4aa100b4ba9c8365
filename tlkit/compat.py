"""Earlier names: what recipes written for an earlier tlkit import, and where it is now.

Recipes live outside this repository: in every run folder (`tlkit resume` and `tlkit repeat` load the run's own) and with
everyone who used `tlkit copy`. A line of `TABLE` keeps one name usable: a module, or one thing of a module or of `tlkit`
itself; then its present place; then keyword arguments that have another name by now, as old=new. Nothing in tlkit
imports this module but `tlkit/__init__.py`, where it meets a name that is nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

TABLE = """
    tlkit.cli.anatomy_chapters                       tlkit.tasks.inspection.workflow
    tlkit.cli.anatomy_chapters.check_picture         tlkit.tasks.inspection.workflow.load_image
    tlkit.cli.anatomy_chapters.prepare_subject       tlkit.tasks.inspection.workflow.build_subject
    tlkit.cli.anatomy_chapters.write_page            tlkit.tasks.inspection.workflow.write_report
    tlkit.cli.benefit_chapters                       tlkit.tasks.studies.few_shot_workflow
    tlkit.cli.benefit_chapters.Evidence              tlkit.tasks.studies.few_shot_workflow.FewShotStudy
    tlkit.cli.benefit_chapters.answer                tlkit.tasks.studies.study.answer
    tlkit.cli.benefit_chapters.write_verdict         tlkit.tasks.studies.study.evaluate
    tlkit.cli.choices                                tlkit.cli.options.classification
    tlkit.cli.composite_chapters                     tlkit.tasks.compositing.crops_workflow
    tlkit.cli.composite_chapters.write_page          tlkit.tasks.compositing.crops_workflow.write_report
    tlkit.cli.detection_chapters                     tlkit.tasks.detection.workflow
    tlkit.cli.detection_chapters.deal_boxes          tlkit.tasks.detection.workflow.load_data
    tlkit.cli.detection_chapters.prepare_retinanet   tlkit.tasks.detection.workflow.build_retinanet
    tlkit.cli.detection_chapters.prepare_yolov8      tlkit.tasks.detection.workflow.build_yolov8
    tlkit.cli.detection_chapters.serve               tlkit.tasks.detection.workflow.export
    tlkit.cli.detection_chapters.taste               tlkit.tasks.detection.workflow.evaluate
    tlkit.cli.detection_choices                      tlkit.cli.options.detection
    tlkit.cli.game_chapters                          tlkit.tasks.synthesis.train_workflow
    tlkit.cli.game_chapters.Judge                    tlkit.tasks.synthesis.train_workflow.Evaluator
    tlkit.cli.game_choices                           tlkit.cli.options.synthesis
    tlkit.cli.game_choices.game_networks             tlkit.cli.options.synthesis.gan_networks
    tlkit.cli.generate_chapters                      tlkit.tasks.synthesis.generate_workflow
    tlkit.cli.generate_chapters.find_generator       tlkit.tasks.synthesis.generate_workflow.load_generator
    tlkit.cli.generate_chapters.make_pictures        tlkit.tasks.synthesis.generate_workflow.sample
    tlkit.cli.generate_chapters.write_pictures_page  tlkit.tasks.synthesis.generate_workflow.export
    tlkit.cli.projection_chapters                    tlkit.tasks.compositing.online_workflow
    tlkit.cli.projection_chapters.gather_tip         tlkit.tasks.compositing.online_workflow.load_threats
    tlkit.cli.synthesis_chapters                     tlkit.tasks.synthesis.workflow
    tlkit.cli.synthesis_chapters.deal_pictures       tlkit.tasks.synthesis.workflow.load_data
    tlkit.cli.synthesis_chapters.prepare_game        tlkit.tasks.synthesis.workflow.build_gan
    tlkit.cli.synthesis_results                      tlkit.tasks.synthesis.evaluate_workflow
    tlkit.cli.synthesis_results.serve_generator      tlkit.tasks.synthesis.evaluate_workflow.export
    tlkit.cli.synthesis_results.taste_fakes          tlkit.tasks.synthesis.evaluate_workflow.evaluate
    tlkit.cli.threat_chapters                        tlkit.tasks.compositing.bags_workflow
    tlkit.cli.threat_chapters.deal_bags              tlkit.tasks.compositing.bags_workflow.load_bags
    tlkit.cli.threat_chapters.deal_threats           tlkit.tasks.compositing.bags_workflow.load_threats
    tlkit.cli.threat_chapters.write_page             tlkit.tasks.compositing.bags_workflow.write_report
    tlkit.cli.tip_chapters                           tlkit.tasks.studies.composites_workflow
    tlkit.cli.tip_chapters.gather_evidence           tlkit.tasks.studies.composites_workflow.load_data
    tlkit.cli.tip_chapters.write_verdict             tlkit.tasks.studies.composites_workflow.evaluate
    tlkit.cli.window_chapters                        tlkit.tasks.detection.sliding_window.workflow
    tlkit.cli.window_chapters.prepare_windows        tlkit.tasks.detection.sliding_window.workflow.build_windows
    tlkit.cli.window_chapters.taste                  tlkit.tasks.detection.sliding_window.workflow.evaluate
    tlkit.deal                                       tlkit.tasks.classification.workflow.load_data
    tlkit.prepare_classifier                         tlkit.tasks.classification.workflow.build_classifier
    tlkit.prepare_extractor                          tlkit.tasks.features.workflow.build_extractor
    tlkit.prepare_small_cnn                          tlkit.tasks.classification.workflow.build_small_cnn
    tlkit.serve                                      tlkit.tasks.classification.workflow.export
    tlkit.taste                                      tlkit.tasks.classification.workflow.evaluate
"""
NOTICE = (
    "Note: this recipe was written for an earlier tlkit, whose names it uses. They still work; tlkit/compat.py "
    "says what each is called now."
)


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        place: The present dotted name.
        keywords: From an earlier keyword argument to the present one.
    """

    place: str
    keywords: dict[str, str]


def rows(table: str) -> dict[str, Row]:
    """From an earlier dotted name to its row."""
    lines = [line.split() for line in table.strip().splitlines()]
    return {old: Row(new, dict(pair.split("=") for pair in pairs)) for old, new, *pairs in lines}


ROWS = rows(TABLE)


def find_spec(name: str) -> ModuleSpec | None:
    """How an earlier module is imported; None for a name that never was one."""
    return ModuleSpec(name, _Loader()) if name in ROWS else None  # type: ignore[arg-type]


def find(module: str, name: str) -> Any:
    """What an earlier module, or `tlkit`, had by a name.

    Raises:
        AttributeError: Nothing.
    """
    row = ROWS.get(f"{module}.{name}")
    if row:
        tell()
        home, _, own = row.place.rpartition(".")
        return _with_keywords(getattr(import_module(home), own), row.keywords)
    if module not in ROWS or name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(ROWS[module].place), name)


@cache
def tell() -> None:
    """Say once that earlier names are in use."""
    from tlkit.core.console import Console

    Console().say(NOTICE)


def _with_keywords(thing: Any, keywords: dict[str, str]) -> Any:
    """The same thing, which also takes earlier keyword arguments."""
    if not keywords or inspect.isclass(thing):
        return thing
    called: Callable[..., Any] = thing

    @wraps(called)
    def renamed(*arguments: Any, **options: Any) -> Any:
        return called(*arguments, **{keywords.get(name, name): value for name, value in options.items()})

    return renamed


class _EarlierModule(ModuleType):
    """A module by an earlier name: each thing in it is fetched from where it is now."""

    def __getattr__(self, name: str) -> Any:
        return find(self.__name__, name)


class _Loader:
    """Makes an earlier module; there is nothing to execute."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        tell()
        return _EarlierModule(spec.name, f"An earlier name of {ROWS[spec.name].place}.")

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is."""
