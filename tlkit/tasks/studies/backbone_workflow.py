"""The workflow of `compare-backbones`: every extractor with every head on one split, and the table of it all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tlkit.core.csv_writer import write_csv
from tlkit.core.run import Run
from tlkit.core.text import count
from tlkit.engine.training.estimates import untold
from tlkit.errors import ModelFault
from tlkit.tasks.classification.heads_workflow import choose_head
from tlkit.tasks.features.workflow import built_extractor, extract

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.features.extract import Featurizer

Rows = list[dict[str, Any]]


def plan_contest(split: Split, extractors: Sequence[str], heads: Sequence[str]) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(split.images.class_names),
        "images": len(split.images),
        "backbones": list(extractors),
        "heads": list(heads),
        "time": untold(
            f"it is the sum of {len(extractors)} extractors, each as extract-features --dry-run tells of it; what "
            "the cache has takes none."
        ),
    }


def contest(
    run: Run,
    split: Split,
    extractors: Sequence[str],
    heads: Sequence[str],
    folds: int,
    select: str,
    negative: str | None = "other",
    *,
    leaky: bool = False,
) -> Rows:
    """Measure each extractor with each head on the test part; settings and heads are chosen without it.

    An extractor whose weights cannot be had is left out and named.

    Returns:
        One row for each extractor and head: extractor, head, setting, chosen (the extractor's best head by
        cross-validation), score (of the choice), width, milliseconds, and `contest_measures`.

    Raises:
        ModelFault: No extractor can be had.
    """
    run.start_tensorflow()
    rows: Rows = []
    missing: list[dict[str, str]] = []
    for name in extractors:
        try:
            featurizer, _ = built_extractor(run, name)
        except ModelFault as fault:
            if len(extractors) == 1:
                raise
            run.say(f"{name} is left out: {fault.problem}")
            missing.append({"extractor": name, "reason": fault.problem})
            continue
        rows += _evaluate_extractor(run, split, featurizer, heads, folds, select, negative, leaky=leaky)
    if not rows:
        raise ModelFault(
            f"None of {', '.join(extractors)} can be had: {missing[0]['reason']}", "Take others, such as lbp."
        )
    run.record(classes=list(split.images.class_names), left_out=missing)
    return rows


def _evaluate_extractor(
    run: Run,
    split: Split,
    featurizer: Featurizer,
    heads: Sequence[str],
    folds: int,
    select: str,
    negative: str | None,
    *,
    leaky: bool,
) -> Rows:
    features = extract(run, split, featurizer)
    took = _milliseconds(split, featurizer)
    rows: Rows = []
    for head in heads:
        best, _ = choose_head(run, split, features, [head], folds, select)
        test = _evaluate(run, split, features, best, negative, leaky=leaky)
        row = {
            "extractor": featurizer.name,
            **asdict(best),
            "width": featurizer.width,
            "milliseconds": took,
            **test,
        }
        rows.append(row)
        low, high = row["intervals"]["eta"]
        run.say(
            f"{featurizer.name:24}{head:11}eta {row['eta']:.3f} [{low:.3f}, {high:.3f}]  accuracy {row['accuracy']:.3f}"
        )
    chosen = max(rows, key=lambda row: row["score"])
    return [{**row, "chosen": row is chosen} for row in rows]


def _evaluate(
    run: Run, split: Split, features: np.ndarray, best: Any, negative: str | None, *, leaky: bool
) -> dict[str, Any]:
    """Fit one classifier for all classes and one detector a class on training, and measure them on test.

    `leaky` adds the published mistake, for which training images stand among those that are evaluated.
    """
    import numpy as np

    from tlkit.tasks.classification.heads import fit_head
    from tlkit.tasks.studies.backbone_metrics import contest_measures

    training, test = split.indices("training"), split.indices("test")
    labels, names = np.asarray(split.images.labels), split.images.class_names
    evaluated = np.concatenate([test, training]) if leaky else test
    rows = features[evaluated].astype(np.float64)

    def answers(targets: np.ndarray) -> np.ndarray:
        return fit_head(best.head, best.setting, features[training], targets, run.seed).predict(rows)

    predicted = answers(labels[training])
    detected = np.stack([answers((labels[training] == c).astype(int)) == 1 for c in range(len(names))], 1)
    groups = [split.groups[i] for i in evaluated]

    def measure(n: int) -> dict[str, Any]:
        return contest_measures(
            labels[evaluated[:n]], predicted[:n], detected[:n], names, groups[:n], negative, seed=run.seed
        )

    found = measure(len(test))
    if leaky:
        flattered = measure(len(evaluated))
        found["leaky"] = {key: flattered[key] for key in ("n", "eta", "accuracy")}
    return found


def _milliseconds(split: Split, featurizer: Featurizer) -> float:
    """Of one image through the featurizer alone, median of three batches after one for tracing."""
    import numpy as np

    from tlkit.data.images.batches import pixel_batches

    pixels = next(iter(pixel_batches(split.images.files()[:32], featurizer.image_size))).numpy()
    took = []
    for _ in range(4):
        began = time.perf_counter()
        featurizer(pixels)
        took.append((time.perf_counter() - began) / len(pixels) * 1000)
    return float(np.median(took[1:]))


# --- Serving ---


def show_contest(run: Run, split: Split, rows: Rows) -> None:
    """Write table.csv, table.md, the image and the report, and put the table on the card and the screen."""
    from tlkit.engine.reporting.html import Table, close_run

    header, cells = table_of(rows, list(split.images.class_names))
    marked = best_cells(header, cells)
    folder = run.folder.path
    write_csv(folder / "table.csv", [header, *cells], safe=run.csv_safe)
    (folder / "table.md").write_text(_markdown(header, cells, marked), encoding="utf-8")
    _draw(run, rows)
    best = max((row for row in rows if row["chosen"]), key=lambda row: row["score"])
    lead = _lead(rows, best, split)
    kept = ("extractor", "head", "eta", "accuracy", "n", "intervals")
    run.record(measures={"rows": rows, "best": {key: best[key] for key in kept}})
    note = "Heads and settings were chosen without the test part (*); bold is the best of a column."
    close_run(
        run,
        "Extractors compared",
        lead,
        [Table("Test part", header, cells, marked, note)],
        [("eta.png", "Eta of each extractor with the head chosen for it, with its 95 % interval.")],
    )
    run.say(lead)
    run.result(
        {
            "best": f"{best['extractor']} {best['head']}",
            "eta": best["eta"],
            "eta_interval": best["intervals"]["eta"],
            "accuracy": best["accuracy"],
            "n": best["n"],
            "table": folder.with_name(str(run.folder.number)) / "table.csv",
        }
    )


def _lead(rows: Rows, best: dict[str, Any], split: Split) -> str:
    extractors, heads = ({row[key] for row in rows} for key in ("extractor", "head"))
    low, high = best["intervals"]["eta"]
    test = split.summary()["test"]
    return (
        f"{count(len(extractors), 'extractor')}, each with {count(len(heads), 'head')}, evaluated once on "
        f"{count(test['n'], 'test image')} in {count(test['groups'], 'group')}. Chosen without them: "
        f"{best['extractor']} with {best['head']}, eta {best['eta']:.3f} (95 % interval {low:.3f} to {high:.3f})."
    )


def table_of(rows: Rows, class_names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Header and cells, the highest eta first."""
    header = ["extractor", "head", "chosen", "eta", "low", "high", "accuracy"]
    leaky = any("leaky" in row for row in rows)
    header += ["leaky eta", "flattered by"] if leaky else []
    header += ["features", "ms/image"]
    header += [f"{name} {what}" for name in class_names for what in ("precision", "recall")]
    cells = []
    for row in sorted(rows, key=lambda row: -row["eta"]):
        cell = [row["extractor"], row["head"], "*" if row["chosen"] else ""]
        cell += [row["eta"], *row["intervals"]["eta"], row["accuracy"]]
        cell += [row["leaky"]["eta"], row["leaky"]["eta"] - row["eta"]] if leaky else []
        cell += [row["width"], row["milliseconds"]]
        cell += [row["per_class"][name][what] for name in class_names for what in ("precision", "recall")]
        cells.append(cell)
    return header, cells


def best_cells(header: Sequence[str], cells: Sequence[Sequence[Any]]) -> set[tuple[int, int]]:
    """(row, column) of the best of each column of scores."""
    found = set()
    for column, name in enumerate(header):
        if name.endswith((" precision", " recall")) or name in {"eta", "accuracy"}:
            best = max(row[column] for row in cells)
            found |= {(i, column) for i, row in enumerate(cells) if row[column] == best}
    return found


def _markdown(header: Sequence[str], cells: Sequence[Sequence[Any]], marked: set[tuple[int, int]]) -> str:
    def text(i: int, j: int) -> str:
        value = cells[i][j]
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        return f"**{shown}**" if (i, j) in marked else shown

    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(text(i, j) for j in range(len(header)))} |" for i in range(len(cells))]
    return "\n".join(lines) + "\n"


def _draw(run: Run, rows: Rows) -> None:
    from tlkit.engine.reporting.style import save
    from tlkit.engine.reporting.tensorboard import TensorBoard
    from tlkit.tasks.features.handcrafted import HANDCRAFTED
    from tlkit.tasks.studies.backbone_charts import sorted_bars

    chosen = [row for row in rows if row["chosen"]]
    figure = sorted_bars(
        [f"{row['extractor']}  {row['head']}" for row in chosen],
        [row["eta"] for row in chosen],
        [tuple(row["intervals"]["eta"]) for row in chosen],
        "eta on the test part, 95 % intervals over groups",
        [row["extractor"] in HANDCRAFTED or row["extractor"].endswith("@none") for row in chosen],
    )
    file = save(figure, run.folder.folder("pictures") / "eta.png")
    tensorboard = TensorBoard(run.folder.folder("tensorboard"))
    tensorboard.add_image("eta", file)
    tensorboard.close()
