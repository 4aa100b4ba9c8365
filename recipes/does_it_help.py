"""Find out whether synthetic images help to find a rare thing.

    tlkit run does-it-help photos/ --class shuriken --numbers 20,50,100 --arms flips,dcgan,composites

Method: for each number of real images of the class, and several draws of them, a linear classifier on frozen
features learns to tell it from everything else: with nothing added, with mirrored copies, with the fakes of a GAN
that saw only those images (synthesize-dcgan, synthesize-stylegan), or with the images set into clutter by
Beer-Lambert's law (TIP, Bhowmik 2019). Its strength is chosen on validation; the test part is the same for all. The
interpretation is said whatever it is.

Result: shuriken learned clean and evaluated inside baggage (--hold-out, --backbone mobilenet, --repeats 2), n = 50 among
374 crops in 219 groups, seed 0: with 20 real images eta is 0.683 with nothing added, 0.345 with mirrored copies, 0.241
and 0.281 with DCGAN and StyleGAN samples, 1.000 with composites; with 50 it is 0.193, 0.141, 0.000, 0.122 and 0.985. In
52 minutes on 2 shared cores.
"""

import click

import tlkit
from tlkit.cli.options import classification as choices
from tlkit.cli.options import synthesis as study_choices
from tlkit.tasks.studies import few_shot_workflow as few_shot
from tlkit.tasks.studies.study import answer, evaluate


@tlkit.recipe(split=True)
@click.argument("source")
@study_choices.question()
@choices.extractor()
def does_it_help(run, source, question, backbone, weights, image_size):
    # Ingredients
    split = tlkit.load_data(run, source)
    run.stop_if_dry(few_shot.plan(split, question))

    # Preparation
    featurizer = tlkit.build_extractor(run, backbone, weights, image_size)

    # Cooking
    study = few_shot.FewShotStudy(run, split, question, featurizer)
    cells = answer(run, study)

    # Tasting
    evaluate(run, study, cells)
