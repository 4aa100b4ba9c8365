"""Make as many pictures as you like with a trained generator.

    tlkit run generate synthesize-dcgan-photos --samples 500
    tlkit run generate synthesize-stylegan-photos --samples 500 --truncation 0.7

Method: new latent codes for each seed go through the averaged generator; truncation below 1 stays nearer to the average
picture (Karras 2018). The run names the real pictures that the generator learned from, so `--more` guards the test part.

Result: the pictures of synthesize-dcgan, whose figures were measured on n = 200, seed 0, 2 cores: see there.
"""

import click

import tlkit
from tlkit.cli.options import synthesis as game_choices
from tlkit.tasks.synthesis import generate_workflow as chapters


@tlkit.recipe()
@click.argument("source", metavar="RUN")
@game_choices.sampling()
def generate(run, source, classes, samples, truncation):
    # Ingredients
    generator = chapters.find_generator(run, source, classes)
    run.stop_if_dry(chapters.plan(generator, samples))

    # Cooking
    made = chapters.make_pictures(run, generator, samples, truncation)

    # Serving
    chapters.write_pictures_page(run, generator, made, truncation)
