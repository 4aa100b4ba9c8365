"""tlkit: from a folder of images to a trained, measured, servable model.

`import tlkit` is cheap: every name below is fetched from its module when it is first used, so that a recipe
can be listed, and its options be shown, without TensorFlow.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import Any

# name -> the module that defines it
_LAZY = {
    "load": "tlkit.api",
    "run": "tlkit.api",
    "recipe": "tlkit.cli.recipe",
    "load_data": "tlkit.tasks.classification.workflow",
    "build_classifier": "tlkit.tasks.classification.workflow",
    "build_small_cnn": "tlkit.tasks.classification.workflow",
    "plan": "tlkit.tasks.classification.workflow",
    "fit": "tlkit.tasks.classification.workflow",
    "evaluate": "tlkit.tasks.classification.workflow",
    "export": "tlkit.tasks.classification.workflow",
    "build_extractor": "tlkit.tasks.features.workflow",
    "show_layers": "tlkit.tasks.features.workflow",
    "plan_features": "tlkit.tasks.features.workflow",
    "extract": "tlkit.tasks.features.workflow",
    "write_features": "tlkit.tasks.features.workflow",
    "plan_head": "tlkit.tasks.classification.heads_workflow",
    "fit_head": "tlkit.tasks.classification.heads_workflow",
    "plan_contest": "tlkit.tasks.studies.backbone_workflow",
    "contest": "tlkit.tasks.studies.backbone_workflow",
    "show_contest": "tlkit.tasks.studies.backbone_workflow",
    "Phase": "tlkit.engine.training.settings",
    "Run": "tlkit.core.run",
    "SplitOptions": "tlkit.core.run",
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
        return import_module("tlkit.compat").find("tlkit", name)
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _EarlierNames:
    """Finds modules by names that they had in earlier versions, after all others have looked; see compat.py."""

    @staticmethod
    def find_spec(name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        """How it is imported; None for what never was."""
        if not name.startswith("tlkit.") or name == "tlkit.compat":
            return None
        spec: ModuleSpec | None = import_module("tlkit.compat").find_spec(name)
        return spec


sys.meta_path.append(_EarlierNames)  # type: ignore[arg-type]
