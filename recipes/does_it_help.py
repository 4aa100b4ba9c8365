"""Find out whether synthetic pictures help to find a rare thing.

    tlkit run does-it-help photos/ --class shuriken --numbers 20,50,100 --arms flips,dcgan,composites

Method: for each number of real pictures of the class, and several draws of them, a linear classifier on frozen
features learns to tell it from everything else: with nothing added, with mirrored copies, with the fakes of a game
that saw only those pictures (synthesize-dcgan, synthesize-stylegan), or with the pictures set into clutter by
Beer-Lambert's law (TIP, Bhowmik 2019). Its strength is chosen on validation; the test part is the same for all. The
verdict is said whatever it is.

Result: not measured yet: n = 0, seed 0, on 2 cores.
"""

import click

import tlkit
from tlkit.cli import benefit_chapters as benefit
from tlkit.cli import choices, game_choices


@tlkit.recipe(split=True)
@click.argument("source")
@game_choices.question()
@choices.extractor()
def does_it_help(run, source, question, backbone, weights, image_size):
    # Ingredients
    split = tlkit.deal(run, source)
    run.stop_if_dry({"classes": list(split.images.class_names), "question": question.name})

    # Preparation
    featurizer = tlkit.prepare_extractor(run, backbone, weights, image_size)

    # Cooking
    evidence = benefit.Evidence(run, split, question, featurizer)
    cells = benefit.answer(run, evidence)

    # Tasting
    benefit.write_verdict(run, evidence, cells)
