"""The workflow of the recipes that work on features: extract them, fit classical heads, compare extractors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import DryRunDone, Run
from tlkit.core.text import count
from tlkit.engine.training.estimates import feature_time
from tlkit.errors import UsageFault

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.features.extract import Featurizer

# --- Preparation ---


def build_extractor(
    run: Run,
    backbone: str,
    weights: str,
    image_size: int | None,
    layer: str = "pooled",
    engine: str = "tensorflow",
) -> Featurizer:
    """Start TensorFlow and build what computes the features; see `tasks.features.extractors`.

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

    from tlkit.tasks.features.engines import with_engine
    from tlkit.tasks.features.extractors import build_extractor

    keras.utils.set_random_seed(run.seed)  # random weights are the same wherever a name stands in a list
    found, source = build_extractor(name, **how)
    featurizer = with_engine(found, engine)
    run.say(f"{featurizer.name}: {featurizer.width} features of {featurizer.image_size} pixels; {source}.")
    return featurizer, source


def show_layers(run: Run, backbone: str, image_size: int | None) -> None:
    """List the layers that `--layer` may name, and end."""
    run.start_tensorflow()
    from tlkit.tasks.features.extractors import list_layers

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


# --- Cooking ---


def extract(run: Run, split: Split, featurizer: Featurizer) -> np.ndarray:
    """Features float32 [n, d] of all images of the split, in its order; what the cache has is not computed."""
    from tlkit.tasks.features.extract import Extractor

    extractor = Extractor(featurizer, say=run.say)
    with run.progress(f"features by {featurizer.name}", len(split.images)) as step:
        features = extractor(split.images.files(), split.sha256, step)
    kept = len(features) - extractor.computed
    run.say(f"Features: {count(extractor.computed, 'image')} computed, {kept} from the cache.")
    run.result({"computed": extractor.computed, "cached": kept})
    return features


# --- Tasting and serving of one head ---


# --- Writing features ---


def write_features(
    run: Run, split: Split, features: np.ndarray, featurizer: Featurizer, *, parquet: bool = False
) -> None:
    """Write features.npy, index.csv, features.parquet if wanted, the projector and the page."""
    import numpy as np

    folder = run.folder.path
    np.save(folder / "features.npy", np.ascontiguousarray(features, np.float32))
    columns = index_columns(split)
    write_csv(folder / "index.csv", [columns, *zip(*columns.values(), strict=True)], safe=run.csv_safe)
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
    from tlkit.data.images.batches import pixel_batches
    from tlkit.engine.reporting.html import Table, close_run
    from tlkit.tasks.features.projector import POINTS, SIDE, write_projector

    files = split.images.files()[:POINTS]
    small = [pixels for batch in pixel_batches(files, SIDE) for pixels in batch.numpy()]
    points = write_projector(run.folder.folder("tensorboard"), features, columns, small)
    run.record(
        classes=list(split.images.class_names),
        measures={"images": len(features), "width": features.shape[1], "points": points},
    )
    parts = split.summary()
    rows = [
        [part, parts[part]["n"], parts[part]["groups"], *parts[part]["per_class"].values()] for part in parts
    ]
    close_run(
        run,
        f"Features of {count(len(features), 'image')}",
        f"{features.shape[1]} numbers an image by {featurizer.name}: features.npy, float32 [{len(features)}, "
        f"{features.shape[1]}], rows as in index.csv. tensorboard --logdir {run.folder.final.parent} shows them in "
        "its projector.",
        [Table("Images", ["part", "images", "groups", *split.images.class_names], rows)],
        [],
    )
