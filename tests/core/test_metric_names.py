"""The table of metric names, against what the metrics of the tasks compute."""

from __future__ import annotations

import numpy as np
import pytest

from tlkit.core.metric_names import CLASSIFIER, DETECTOR, names_of, title_of
from tlkit.tasks.classification.metrics import classification_measures


def test_a_classifier_has_every_metric_of_the_table():
    labels = np.array([0, 1] * 6)
    probabilities = np.eye(2)[labels] * 0.8 + 0.1
    found = classification_measures(labels, probabilities, ("gun", "knife"))
    assert set(CLASSIFIER.overall) | set(CLASSIFIER.compared) <= set(found)
    assert set(found["intervals"]) == set(CLASSIFIER.with_interval)
    assert set(CLASSIFIER.per_class) <= set(found["per_class"]["gun"])


@pytest.mark.parametrize("names", [CLASSIFIER, DETECTOR])
def test_the_main_metric_is_compared_with_its_interval(names):
    assert names.main == names.compared[0]
    assert names.main in names.with_interval
    assert set(names.with_interval) <= set(names.overall)


def test_kinds_and_titles():
    assert names_of("detector") is DETECTOR
    assert names_of("classifier") is names_of(None) is CLASSIFIER
    assert (title_of("macro_f1"), title_of("eta")) == ("macro F1", "eta")
