"""Find things in images with an R-CNN.

    tlkit run detect-rcnn xray:bags --minutes 8
    tlkit run detect-rcnn bags/ --backbone mobilenet --crop-side 128

Method: Selective Search proposes regions, whatever they show; each is warped to a square with its surroundings, and the
pooled features of a pretrained network are computed. A linear machine a class, with hard negatives, tells them, and a
ridge regression a class moves them onto objects (Girshick 2014). The network itself does not learn but with
--fine-tune. No object is found that no proposal is on: their recall stands beside AP. AP is COCO's.

Result: xray:bags:count=300 with --minutes 8 (77 images learned): AP50 0.126 (0.051 to 0.238), recall of the proposals
0.812; n = 60 bags with 32 objects, seed 0, on 2 shared cores. More images have not been measured.
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.cli.options import rcnn as more
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.rcnn import rcnn_workflow as regions


@tlkit.recipe(split=True)
@click.argument("source")
@choices.boxes()
@more.regions()
@choices.detecting(overlap=0.3)
def detect_rcnn(
    run, source, faults, unlabelled, backbone, weights, image_size, crop_side, learning, detecting
):
    # Ingredients
    split = detection.load_data(run, source, faults, unlabelled)

    # Preparation
    detector = regions.build_rcnn(run, split, backbone, weights, image_size, crop_side)
    run.stop_if_dry(regions.plan(run, detector, learning))

    # Cooking
    regions.fit(run, detector, split, learning)

    # Tasting
    regions.evaluate(run, detector, split, detecting)

    # Serving
    detection.export(run, detector, split, detecting)
