"""Find out whether synthetic pictures help to find a rare thing.

    tlkit run does-it-help photos/ --class shuriken --numbers 20,50,100 --arms flips,dcgan,composites

Method: for each number of real pictures of the class, and several draws of them, a linear classifier on frozen
features learns to tell it from everything else: with nothing added, with mirrored copies, with the fakes of a game
that saw only those pictures (synthesize-dcgan, synthesize-stylegan), or with the pictures set into clutter by
Beer-Lambert's law (TIP, Bhowmik 2019). Its strength is chosen on validation; the test part is the same for all. The
verdict is said whatever it is.

Result: shuriken learned clean and judged inside baggage (--hold-out, --backbone mobilenet, --repeats 2), n = 50 among
374 crops in 219 groups, seed 0: with 20 real pictures eta is 0.683 with nothing added, 0.345 with mirrored copies, 0.241
and 0.281 with DCGAN and StyleGAN samples, 1.000 with composites; with 50 it is 0.193, 0.141, 0.000, 0.122 and 0.985. In
52 minutes on 2 shared cores.
"""

import click

import tlkit
from tlkit.cli.options import classification as choices
from tlkit.cli.options import synthesis as game_choices
from tlkit.tasks.studies import few_shot_workflow as benefit
from tlkit.tasks.studies.few_shot_data import Evidence


@tlkit.recipe(split=True)
@click.argument("source")
@game_choices.question()
@choices.extractor()
def does_it_help(run, source, question, backbone, weights, image_size):
    # Ingredients
    split = tlkit.deal(run, source)
    run.stop_if_dry(benefit.plan(split, question))

    # Preparation
    featurizer = tlkit.prepare_extractor(run, backbone, weights, image_size)

    # Cooking
    evidence = Evidence(run, split, question, featurizer)
    cells = benefit.answer(run, evidence)

    # Tasting
    benefit.write_verdict(run, evidence, cells)
