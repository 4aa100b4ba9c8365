"""Fit a classical head on frozen features, and serve it.

    tlkit run fit-head xray:crops
    tlkit run fit-head photos/ --backbone mobilenet --heads knn3,svm-rbf --group '(patient\\d+)'

Method: each image's pooled features are computed once; heads of scikit-learn (k nearest neighbours, linear and
Gaussian-kernel machines, logistic regression, LDA, MLP) with standardisation inside are compared by cross-validation
over groups of the training part; the best is fitted on all of it and joined with the backbone in one SavedModel: no
pickle, the same label as scikit-learn gives. Probabilities are calibrated on validation (Guo 2017).

Result: the first command chooses the Gaussian kernel (5 folds: 0.931 +- 0.025; nearest neighbour 0.800) and gives
test accuracy 0.975 (95 % interval 0.950 to 1.000), eta 0.972, n = 120 in 60 groups, seed 0, in 166 s on 2 cores (AMD
EPYC, shared).
"""

import click

import tlkit
from tlkit.cli.options import classification as choices


@tlkit.recipe(split=True)
@click.argument("source")
@choices.heads()
@choices.extractor()
@choices.negative()
def fit_head(run, source, heads, folds, select, backbone, weights, image_size, negative):
    # Ingredients
    split = tlkit.load_data(run, source)

    # Preparation
    run.stop_if_dry(tlkit.plan_head(run, split, backbone, weights, image_size, heads, folds))

    # Cooking
    model, raw = tlkit.fit_head(run, split, backbone, weights, image_size, heads, folds, select)

    # Tasting
    tlkit.evaluate(run, model, split, negative, raw)

    # Serving
    tlkit.export(run, model, split)
