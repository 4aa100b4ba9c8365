"""Chapters of the recipes that work on features: extract them, fit classical heads, compare extractors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.cli.estimates import feature_time
from tlkit.cli.running import DryRunDone, Run
from tlkit.data.csv_writer import CsvWriter
from tlkit.data.leaks import count
from tlkit.errors import UsageFault

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tlkit.data.splits import Split
    from tlkit.models.extractor_names import ExtractorName
    from tlkit.models.features import Featurizer
    from tlkit.models.heads import Candidate

# --- Preparation ---


def prepare_extractor(
    run: Run,
    backbone: str,
    weights: str,
    image_size: int | None,
    layer: str = "pooled",
    engine: str = "tensorflow",
) -> Featurizer:
    """Start TensorFlow and build what computes the features; see `models.extractors`.

    Raises:
        UsageFault, ModelFault: See `build_extractor`.
        RunFailed: The device is absent.
    """
    run.start_tensorflow()
    featurizer, source = built_extractor(
        run, backbone, weights=weights, image_size=image_size, layer=layer, engine=engine
    )
    run.record(
        model={
            "backbone": featurizer.name,
            "layer": layer,
            "engine": engine,
            "weights": source,
            "image_size": featurizer.image_size,
            "width": featurizer.width,
            "digest": featurizer.digest,
        }
    )
    return featurizer


def built_extractor(run: Run, name: str, *, engine: str = "tensorflow", **how: Any) -> tuple[Featurizer, str]:
    """The extractor of a name and where it comes from, which is said; `how` as `build_extractor` takes it.

    Raises:
        UsageFault, ModelFault: See `build_extractor` and `with_engine`.
    """
    import keras

    from tlkit.models.engines import with_engine
    from tlkit.models.extractors import build_extractor

    keras.utils.set_random_seed(run.seed)  # random weights are the same wherever a name stands in a list
    found, source = build_extractor(name, **how)
    featurizer = with_engine(found, engine)
    run.say(f"{featurizer.name}: {featurizer.width} features of {featurizer.image_size} pixels; {source}.")
    return featurizer, source


def show_layers(run: Run, backbone: str, image_size: int | None) -> None:
    """List the layers that `--layer` may name, and end."""
    run.start_tensorflow()
    from tlkit.models.extractors import list_layers

    rows = list_layers(backbone, image_size)
    raise DryRunDone({"layers": [dict(zip(("name", "kind", "shape"), row, strict=True)) for row in rows]})


def plan_features(run: Run, split: Split, featurizer: Featurizer) -> dict[str, Any]:
    """What `--dry-run` shows of features that would be computed."""
    shown = {
        "classes": list(split.images.class_names),
        "images": len(split.images),
        "features": featurizer.width,
        "model": run.card().get("model"),
    }
    return {**shown, "time": feature_time(featurizer, len(split.images))} if run.dry_run else shown


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

    from tlkit.models.classifier import build_features
    from tlkit.models.features import NetworkFeatures

    images, pooled, origin = build_features(found.name, size, found.weights)
    featurizer = NetworkFeatures(keras.Model(images, pooled), backbone)
    model = {"backbone": found.name, "weights": asdict(origin), "image_size": size, "width": featurizer.width}
    time = feature_time(featurizer, len(split.images))
    return {
        **shown,
        "model": model,
        "time": f"{time} Choosing the head comes on top, most of all that of an mlp.",
    }


# --- Cooking ---


def extract(run: Run, split: Split, featurizer: Featurizer) -> np.ndarray:
    """Features float32 [n, d] of all images of the split, in its order; what the cache has is not computed."""
    from tlkit.models.features import Extractor

    extractor = Extractor(featurizer, say=run.say)
    with run.progress(f"features by {featurizer.name}", len(split.images)) as step:
        features = extractor(split.images.files(), split.sha256, step)
    kept = len(features) - extractor.computed
    run.say(f"Features: {count(extractor.computed, 'image')} computed, {kept} from the cache.")
    run.result({"computed": extractor.computed, "cached": kept})
    return features


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
        select: "folds", or "validation": learn all of training, judge on validation.

    Raises:
        DataFault: A class has fewer groups than folds.
    """
    import numpy as np

    from tlkit.models.heads import best_of, make_folds, search

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


# --- Tasting and serving of one head ---


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

    from tlkit.models import heads as classical
    from tlkit.models.classifier import build_features
    from tlkit.models.features import NetworkFeatures
    from tlkit.models.head_layers import add_fitted_head
    from tlkit.results.evaluation import predict_features

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
    from tlkit.models.backbones import find_backbone
    from tlkit.models.extractor_names import read_name

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
    from tlkit.models.heads import best_of

    for head in dict.fromkeys(candidate.head for candidate in candidates):
        row = best_of([candidate for candidate in candidates if candidate.head == head])
        mark = "  *" if row == best else ""
        setting = ", ".join(f"{key.rpartition('__')[2]} {value}" for key, value in row.setting.items())
        run.say(f"{head:11}{row.score:.4f} +- {row.deviation:.4f}  {setting}{mark}")


def _agreement(pipeline: Any, raw: np.ndarray, features: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """The graph beside scikit-learn on the test images."""
    import numpy as np
    from scipy.special import softmax

    from tlkit.models.heads import decision_values

    rows = features[test].astype(np.float64)
    theirs = softmax(decision_values(pipeline, rows), axis=1)
    return {
        "images": len(rows),
        "same_label": int((raw[test].argmax(1) == pipeline.predict(rows)).sum()),
        "largest_difference": float(np.abs(raw[test] - theirs).max()),
    }


# --- Writing features ---


def write_features(
    run: Run, split: Split, features: np.ndarray, featurizer: Featurizer, *, parquet: bool = False
) -> None:
    """Write features.npy, index.csv, features.parquet if wanted, the projector and the page."""
    import numpy as np

    folder = run.folder.path
    np.save(folder / "features.npy", np.ascontiguousarray(features, np.float32))
    columns = index_columns(split)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = CsvWriter(stream, safe=run.csv_safe)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if parquet:
        _write_parquet(folder / "features.parquet", columns, features)
    _show_features(run, split, features, featurizer, columns)


def index_columns(split: Split) -> dict[str, list[str]]:
    """path, label, group and part of every image, [n] each, in the order of the rows of features.npy."""
    names = split.images.class_names
    return {
        "path": list(split.images.paths),
        "label": [names[label] for label in split.images.labels],
        "group": list(split.groups),
        "part": list(split.parts),
    }


def _write_parquet(file: Path, columns: dict[str, list[str]], features: np.ndarray) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as fault:
        raise UsageFault("--parquet needs pyarrow.", "pip install pyarrow") from fault
    rows = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    parquet.write_table(pa.table({**columns, "features": rows}), file)


def _show_features(
    run: Run, split: Split, features: np.ndarray, featurizer: Featurizer, columns: dict[str, list[str]]
) -> None:
    from tlkit.data.images import pixel_batches
    from tlkit.results.page import Table, write_page
    from tlkit.results.projector import POINTS, SIDE, write_projector

    files = split.images.files()[:POINTS]
    small = [pixels for batch in pixel_batches(files, SIDE) for pixels in batch.numpy()]
    points = write_projector(run.folder.folder("tensorboard"), features, columns, small)
    run.record(
        classes=list(split.images.class_names),
        measures={"images": len(features), "width": features.shape[1], "points": points},
    )
    run.folder.write_json("card.json", run.card())
    parts = split.summary()
    rows = [
        [part, parts[part]["n"], parts[part]["groups"], *parts[part]["per_class"].values()] for part in parts
    ]
    write_page(
        run.folder.path,
        f"Features of {count(len(features), 'image')}",
        f"{features.shape[1]} numbers an image by {featurizer.name}: features.npy, float32 [{len(features)}, "
        f"{features.shape[1]}], rows as in index.csv. tensorboard --logdir {run.folder.final.parent} shows them in "
        "its projector.",
        [Table("Images", ["part", "images", "groups", *split.images.class_names], rows)],
        [],
    )
