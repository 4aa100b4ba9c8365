"""Few-shot study, the workflow of `does-it-help`: one class found among the others, with few real images of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlkit.core.text import count
from tlkit.data.images.sources import PARTS, TEST, TRAINING, VALIDATION
from tlkit.engine.training.estimates import untold
from tlkit.tasks.studies.few_shot_data import FewShotData, FewShotQuestion
from tlkit.tasks.studies.study import Telling

if TYPE_CHECKING:
    import numpy as np

    from tlkit.data.images.splits import Split
    from tlkit.tasks.studies.gains import Cell


def plan(split: Split, question: FewShotQuestion) -> dict[str, Any]:
    """What `--dry-run` shows."""
    return {
        "classes": list(split.images.class_names),
        "images": {part: len(split.indices(part)) for part in PARTS},
        "question": question.name,
        "numbers": list(question.numbers),
        "arms": list(question.every_arm),
        "repeats": question.repeats,
        "time": untold("it is nearly all that of the GANs; the first number and repeat says it."),
    }


class FewShotStudy(FewShotData):
    """Linear classifiers on frozen features, each asked which test images show the class."""

    def trained(self, number: int, arm: str, repeat: int) -> np.ndarray:
        """Which test images, bool [n], a classifier calls so that learned from `number` real ones and the arm's."""
        import numpy as np

        from tlkit.tasks.classification.heads import best_of, fit_head, search
        from tlkit.tasks.studies.few_shot_arms import ARMS

        chosen, seed = self.chosen(number, repeat), self.run.seed
        added, shows = ARMS[arm](self, chosen, repeat)
        real = np.concatenate([chosen, self.of(TRAINING, shown=False)])
        rows = np.concatenate([self.features[real], added]).astype(np.float64)
        labels = np.concatenate([self.truth[real], shows]).astype(np.int64)
        evaluated = self.split.indices(VALIDATION)
        everything = np.concatenate([rows, self.features[evaluated].astype(np.float64)])
        truths = np.concatenate([labels, self.truth[evaluated].astype(np.int64)])
        pairs = [(np.arange(len(rows)), np.arange(len(rows), len(everything)))]
        best = best_of(search(everything, truths, pairs, ["logistic"], seed))
        pipeline = fit_head(best.head, best.setting, rows, labels, seed)
        test = self.split.indices(TEST)
        return pipeline.predict(self.features[test].astype(np.float64)).astype(bool)

    def shown(self, answers: Sequence[np.ndarray]) -> str:
        """Recall and precision, means over repeats."""
        import numpy as np

        found, truth = np.stack(answers), self.truth[self.split.indices(TEST)]
        recall = (found & truth).sum(axis=1) / max(1, truth.sum())
        precision = (found & truth).sum(axis=1) / found.sum(axis=1).clip(1)
        return f"recall {recall.mean():.3f}  precision {precision.mean():.3f}"

    def measured(self, answers: Mapping[tuple[int, str], Sequence[np.ndarray]]) -> list[Cell]:
        """Recall, precision and eta of every arm at every number."""
        from tlkit.tasks.studies.gains import measure_benefit

        return measure_benefit(
            self.truth[self.split.indices(TEST)], self._test_groups(), answers, seed=self.run.seed
        )

    def told(self, cells: Sequence[Cell]) -> Telling:
        """A sentence for each arm."""
        from tlkit.tasks.studies.gains import interpretations

        name, test = self.question.name, self.split.indices(TEST)
        shows, groups = int(self.truth[test].sum()), len(set(self._test_groups()))
        return Telling(
            f"Does it help to find {name}?",
            f"Finding {name}: {count(shows, 'image')} among {len(test)}, {count(groups, 'group')}",
            ("recall", "precision", "eta"),
            tuple(interpretations(cells)),
            self.question.facts(),
        )

    def _test_groups(self) -> list[str]:
        return [self.split.groups[i] for i in self.split.indices(TEST)]
