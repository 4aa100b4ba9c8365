"""Train the course's first small CNN from scratch: eyes against noses, digits, castings.

    tlkit run small-cnn eyes-noses/labels.csv

Method: convolution, convolution, max-pooling, one dense layer, 32 x 32 pixels (the course's S8, layer for layer);
early stopping on validation, best and last model kept, confusion matrices for training, validation and test.

Result: eyes against noses, grouped by person: test accuracy 0.945 (95 % interval 0.920 to 0.970), n = 200 in 25
groups, seed 0, 608 training images, best epoch 17 of 27, on 2 cores. (The source: 0.9909 with 7,360 of them.)
"""

import click

import tlkit
from tlkit.cli.options import classification as choices


@tlkit.recipe(split=True)
@click.argument("source")
@click.option(
    "--epochs", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="Most epochs."
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=2e-3,
    show_default=True,
    metavar="RATE",
    help="Adam's rate.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    metavar="PIXELS",
    help="Side of the input.",
)
@choices.fitting(patience=10, schedule="constant")
@choices.augmentation(augment=False)
@choices.refit()
@choices.negative()
def small_cnn(run, source, epochs, learning_rate, image_size, fitting, augmentation, refit, negative):
    # Ingredients
    split = tlkit.load_data(run, source)

    # Preparation
    model = tlkit.build_small_cnn(run, split, image_size)
    phases = [tlkit.Phase("training", "all", epochs, learning_rate)]
    run.stop_if_dry(tlkit.plan(run, split, phases, model, refit=refit))

    # Cooking
    first = tlkit.fit(run, model, split, phases, fitting, augmentation, refit=refit)

    # Tasting
    tlkit.evaluate(run, model, split, negative, first=first)

    # Serving
    tlkit.export(run, model, split)
