"""Compare feature extractors and heads, with intervals.

    tlkit run compare-backbones xray:crops --backbones efficientnet-lite0,lbp,haralick,pixels
    tlkit run compare-backbones photos/ --backbones mobilenet,mobilenet@none,lbp --heads knn1,logistic

Method: the course's contest (S10). Each extractor's features, computed once, go to each classical head; its setting is
chosen by cross-validation over groups of the training part (or on validation), one-against-rest detectors and a
classifier for all classes are fitted on training and evaluated once on test. Eta is the mean over classes, without
`other`, of sqrt(precision x recall) of the detectors; intervals resample groups.

Result: on the course's crops, learned clean, chosen on half of the baggage and evaluated on the rest: MobileNet with a
linear machine, eta 0.925 (95 % interval 0.878 to 0.969), n = 160 in 102 groups, seed 0, 2 cores; the course's table
ends at 0.82.
"""

import click

import tlkit
from tlkit.cli.options import classification as choices


@tlkit.recipe(split=True)
@click.argument("source")
@choices.extractors()
@choices.heads(heads="knn1,knn3,svm-linear,logistic")
@choices.negative()
@click.option(
    "--leaky", is_flag=True, help="Also evaluate with training images among the test: what that flatters."
)
def compare_backbones(run, source, backbones, heads, folds, select, negative, leaky):
    # Ingredients
    split = tlkit.load_data(run, source)
    run.stop_if_dry(tlkit.plan_contest(split, backbones, heads))

    # Cooking and tasting
    rows = tlkit.contest(run, split, backbones, heads, folds, select, negative, leaky=leaky)

    # Serving
    tlkit.show_contest(run, split, rows)
