"""How long hypothesis looks: 50 examples each, 1,000 with `python -m tests --slow`; always the same ones."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

HOW = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
settings.register_profile("short", max_examples=50, **HOW)
settings.register_profile("thorough", max_examples=1000, **HOW)


def pytest_configure(config):
    set_hypothesis_home_dir(tempfile.gettempdir())  # it keeps tables of characters; the checkout stays clean
    short = "not slow" in config.option.markexpr
    settings.load_profile("short" if short else "thorough")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all examples of a module: hypothesis and `tmp_path` do not go together."""
    return tmp_path_factory.mktemp("examples")
