"""Workflow of fitted heads: choose one by cross-validation on features, fit it, join it with the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tlkit.core.run import Run
from tlkit.engine.training.estimates import feature_time
from tlkit.errors import UsageFault
from tlkit.tasks.features.workflow import extract

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.classification.heads import Candidate
    from tlkit.tasks.features.names import ExtractorName


def plan_head(
    run: Run,
    split: Split,
    backbone: str,
    weights: str,
    image_size: int | None,
    heads: Sequence[str],
    folds: int,
) -> dict[str, Any]:
    """What `--dry-run` shows of a head that would be fitted; then the backbone is built and its pace measured.

    Raises:
        UsageFault, ModelFault: The backbone or its weights cannot be had.
    """
    shown = {
        "classes": list(split.images.class_names),
        "images": len(split.images),
        "heads": list(heads),
        "folds": folds,
    }
    if not run.dry_run:
        return shown
    found, size = _servable(backbone, weights, image_size)
    run.start_tensorflow()
    import keras

    from tlkit.backbones.feature_model import build_features
    from tlkit.tasks.features.extract import NetworkFeatures

    images, pooled, origin = build_features(found.name, size, found.weights)
    featurizer = NetworkFeatures(keras.Model(images, pooled), backbone)
    model = {"backbone": found.name, "weights": asdict(origin), "image_size": size, "width": featurizer.width}
    time = feature_time(featurizer, len(split.images))
    return {
        **shown,
        "model": model,
        "time": f"{time} Choosing the head comes on top, most of all that of an mlp.",
    }


def choose_head(
    run: Run, split: Split, features: np.ndarray, heads: Sequence[str], folds: int, select: str
) -> tuple[Candidate, list[Candidate]]:
    """The best of the heads' settings by cross-validation on training, or on validation; never on test.

    Args:
        run: Of the recipe.
        split: Its training part is learned from.
        features: float32 [n, d] of all its images.
        heads: Names in `heads.HEADS`.
        folds: Of the cross-validation over groups.
        select: "folds", or "validation": learn all of training, evaluate on validation.

    Raises:
        DataFault: A class has fewer groups than folds.
    """
    import numpy as np

    from tlkit.tasks.classification.heads import best_of, make_folds, search

    training, validation = split.indices("training"), split.indices("validation")
    labels = np.asarray(split.images.labels)
    if select == "validation":
        used = np.concatenate([training, validation])
        pairs = [(np.arange(len(training)), np.arange(len(training), len(used)))]
    else:
        used = training
        groups = [split.groups[i] for i in training]
        pairs = make_folds(labels[training], groups, split.images.class_names, folds, run.seed)
    candidates = search(features[used], labels[used], pairs, heads, run.seed)
    return best_of(candidates), candidates


def fit_head(
    run: Run,
    split: Split,
    backbone: str,
    weights: str,
    image_size: int | None,
    heads: Sequence[str],
    folds: int,
    select: str,
) -> tuple[keras.Model, np.ndarray]:
    """Choose a head by cross-validation, fit it on training, and join it with the backbone.

    The joined network is compared with scikit-learn on every test image: labels and scores stand on the card.

    Returns:
        The classifier, with temperature 1, and its probabilities float32 [n, k] of all images.

    Raises:
        DataFault, UsageFault, ModelFault: See `choose_head` and `build_extractor`.
    """
    found, size = _servable(backbone, weights, image_size)
    run.start_tensorflow()
    import keras
    import numpy as np

    from tlkit.backbones.feature_model import build_features
    from tlkit.tasks.classification import heads as classical
    from tlkit.tasks.classification.evaluate import predict_features
    from tlkit.tasks.classification.head_layers import add_fitted_head
    from tlkit.tasks.features.extract import NetworkFeatures

    images, pooled, origin = build_features(found.name, size, found.weights)
    run.say(f"Weights: {origin.sentence}.")
    features = extract(run, split, NetworkFeatures(keras.Model(images, pooled), backbone))
    best, candidates = choose_head(run, split, features, heads, folds, select)
    _say_candidates(run, candidates, best)
    training = split.indices("training")
    labels = np.asarray(split.images.labels)
    pipeline = classical.fit_head(best.head, best.setting, features[training], labels[training], run.seed)
    model = keras.Model(
        images, add_fitted_head(pooled, pipeline, split.images.class_names), name="classifier"
    )
    raw = predict_features(model, features)
    run.record(
        model={
            "backbone": found.name,
            "weights": asdict(origin),
            "image_size": size,
            "parameters": model.count_params(),
            "temperature": 1.0,
            "head": best.head,
            "setting": best.setting,
        },
        candidates=[asdict(candidate) for candidate in candidates],
        scikit_learn=_agreement(pipeline, raw, features, split.indices("test")),
    )
    return model, raw


def _servable(backbone: str, weights: str, image_size: int | None) -> tuple[ExtractorName, int]:
    """A backbone's name taken apart, and its image size; what is no Keras network is refused."""
    from tlkit.backbones.table import find_backbone
    from tlkit.tasks.features.names import read_name

    found = read_name(backbone, weights)
    if found.kind != "backbone":
        raise UsageFault(
            f"{backbone} cannot be served: it is not a Keras network.",
            "Take a backbone, or compare it with tlkit run compare-backbones.",
        )
    size = image_size or find_backbone(found.name).native_size
    find_backbone(found.name, size)
    return found, size


def _say_candidates(run: Run, candidates: Sequence[Candidate], best: Candidate) -> None:
    from tlkit.tasks.classification.heads import best_of

    for head in dict.fromkeys(candidate.head for candidate in candidates):
        row = best_of([candidate for candidate in candidates if candidate.head == head])
        mark = "  *" if row == best else ""
        setting = ", ".join(f"{key.rpartition('__')[2]} {value}" for key, value in row.setting.items())
        run.say(f"{head:11}{row.score:.4f} +- {row.deviation:.4f}  {setting}{mark}")


def _agreement(pipeline: Any, raw: np.ndarray, features: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """The graph beside scikit-learn on the test images."""
    import numpy as np
    from scipy.special import softmax

    from tlkit.tasks.classification.heads import decision_values

    rows = features[test].astype(np.float64)
    theirs = softmax(decision_values(pipeline, rows), axis=1)
    return {
        "images": len(rows),
        "same_label": int((raw[test].argmax(1) == pipeline.predict(rows)).sum()),
        "largest_difference": float(np.abs(raw[test] - theirs).max()),
    }
