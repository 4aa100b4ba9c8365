"""Look inside a network while it looks at an image.

    tlkit run look-inside photo.png --backbone mobilenet
    tlkit run look-inside photo.png --backbone vgg16 --layer block1_conv2 --layer block3_pool

Method: the course's S7. One image goes through the network; drawn are the filters of the first convolution, the
channels of each chosen layer that vary most over the image (Zeiler and Fergus 2014 show why one looks), and one
row for each kind of operation: convolution, activation, pooling, fully connected. Multiply-adds are counted from
shapes, as the papers count them.

Result: the first command, MobileNet without its head at 224 pixels: 86 layers, 3,228,864 parameters, 567,716,352
multiply-adds, of which 96.9 % in 1 x 1 and first convolutions (Howard 2017: 569 million with the head's 1.0),
n = 1 image, seed 0, in 21 s on 2 cores (AMD EPYC, no GPU, shared with other work).
"""

import click

import tlkit
from tlkit.cli.options import classification as choices
from tlkit.tasks.inspection import workflow


@tlkit.recipe()
@click.argument("source", metavar="IMAGE")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Layer whose maps are drawn; may be repeated.  [default: five, from first to last]",
)
@choices.network()
def look_inside(run, source, layers, backbone, weights, image_size, precision):
    # Ingredients
    image = workflow.load_image(source)

    # Preparation
    subject = workflow.build_subject(run, image, layers, backbone, weights, image_size, precision)
    run.stop_if_dry(workflow.plan(run, subject))

    # Tasting
    images = workflow.draw(run, subject)
    rows = workflow.count_layers(run, subject)

    # Serving
    workflow.write_report(run, rows, images)
