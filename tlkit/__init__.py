"""tlkit: from a folder of images to a trained, measured, servable model.

`import tlkit` is cheap: every name below is fetched from its module when it is first used, so that a recipe
can be listed, and its options be shown, without TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# name -> the module that defines it
_LAZY = {
    "recipe": "tlkit.cli.recipe",
    "deal": "tlkit.cli.chapters",
    "prepare_classifier": "tlkit.cli.chapters",
    "prepare_small_cnn": "tlkit.cli.chapters",
    "plan": "tlkit.cli.chapters",
    "fit": "tlkit.cli.chapters",
    "taste": "tlkit.cli.chapters",
    "serve": "tlkit.cli.chapters",
    "prepare_extractor": "tlkit.cli.feature_chapters",
    "show_layers": "tlkit.cli.feature_chapters",
    "plan_features": "tlkit.cli.feature_chapters",
    "extract": "tlkit.cli.feature_chapters",
    "write_features": "tlkit.cli.feature_chapters",
    "plan_head": "tlkit.cli.feature_chapters",
    "fit_head": "tlkit.cli.feature_chapters",
    "plan_contest": "tlkit.cli.contest_chapters",
    "contest": "tlkit.cli.contest_chapters",
    "show_contest": "tlkit.cli.contest_chapters",
    "Phase": "tlkit.models.settings",
    "Run": "tlkit.cli.running",
    "SplitOptions": "tlkit.cli.running",
    "TlkitError": "tlkit.errors",
    "RunFailed": "tlkit.errors",
    "UsageFault": "tlkit.errors",
    "DataFault": "tlkit.errors",
    "ModelFault": "tlkit.errors",
    "ExportFault": "tlkit.errors",
}

__all__ = ["__version__", *_LAZY]  # noqa: PLE0604 - the table is the list


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tlkit")
    if name not in _LAZY:
        raise AttributeError(f"module 'tlkit' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
