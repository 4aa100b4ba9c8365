"""Make as many images as you like with a trained generator.

    tlkit run generate synthesize-dcgan-photos --samples 500
    tlkit run generate synthesize-stylegan-photos --samples 500 --truncation 0.7

Method: new latent codes for each seed go through the averaged generator; truncation below 1 stays nearer to the average
image (Karras 2018). The run names the real images that the generator learned from, so `--synthetic` guards the test
part.

Result: the images of synthesize-dcgan, whose figures were measured on n = 200, seed 0, 2 cores: see there.
"""

import click

import tlkit
from tlkit.cli.options import synthesis as choices
from tlkit.tasks.synthesis import generate_workflow as workflow


@tlkit.recipe()
@click.argument("source", metavar="RUN")
@choices.sampling()
def generate(run, source, classes, samples, truncation):
    # Ingredients
    generator = workflow.load_generator(run, source, classes)
    run.stop_if_dry(workflow.plan(generator, samples))

    # Cooking
    made = workflow.sample(run, generator, samples, truncation)

    # Serving
    workflow.export(run, generator, made, truncation)
