"""Options of the recipes that find things."""

from __future__ import annotations

from dataclasses import asdict

from tlkit.cli.options import detection as choices
from tlkit.tasks.detection.settings import DetectorFitting


def test_a_run_of_before_lacks_options_and_is_read_with_their_defaults():
    stored = {
        name: value
        for name, value in asdict(DetectorFitting(batch=3)).items()
        if name not in {"minutes", "steps"}
    }
    found = choices.fitting()(lambda fitting: fitting)(**stored)
    assert found == DetectorFitting(batch=3)
    assert (found.minutes, found.steps) == (None, None)


def test_only_recipes_with_one_training_have_a_length():
    names = [
        {option.name for option in choices.fitting(timed=timed)(lambda: None).__click_params__}
        for timed in (True, False)
    ]
    assert names[0] - names[1] == {"minutes", "steps"}
