"""Find things in images with a YOLOv3.

    tlkit run detect-yolov3 xray:bags
    tlkit run detect-yolov3 bags/ --anchors anchors.txt --image-size 512

Method: three grids of strides 8, 16 and 32 with three anchors a cell, found by k-means of the training boxes; the
anchor whose shape fits an object best learns it, classes are independent, and maps are mixed from coarse to fine by
concatenation (Redmon 2018). Places whose predicted box overlaps an object by more than 0.5 are no background (the paper
asks their anchors, its released code the boxes). First the heads, then everything, with the average of the weights;
the best epoch by AP50 on validation is kept. AP is COCO's.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: xray:bags, 33 minutes of 2 cores (5,280 steps): AP50 0.832 (0.766 to 0.893), gun 0.922, shuriken 0.981, knife
0.648, razor blade 0.775; recall 0.783, 0.894 and 0.916 at 0.1, 0.5 and 1 false alarms an image; n = 400 bags of 200
packings of another seed (seed 7), evaluated once. On its own test part (seed 0, n = 400) 0.844 (0.788 to 0.898).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(3, 57)
@choices.learning_rates(1e-3, 5e-4)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.anchors()
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
@choices.projecting()
@choices.detecting()
def detect_yolov3(
    run,
    source,
    epochs,
    learning_rates,
    faults,
    unlabelled,
    backbone,
    weights,
    start,
    image_size,
    precision,
    anchors,
    fitting,
    augmentation,
    projecting,
    detecting,
):
    # Ingredients
    split = detection.load_data(run, source, faults, unlabelled)
    tip = projection.load_threats(run, split, projecting)

    # Preparation
    network = (backbone, weights, image_size, start, precision)
    detector = detection.build_detector(run, split, *network, kind="yolov3", anchors=anchors)
    phases = [
        tlkit.Phase(s, s, *how) for s, *how in zip(("head", "all"), epochs, learning_rates, strict=True)
    ]
    run.stop_if_dry(detection.plan(run, phases, detector))

    # Cooking
    detection.fit(run, detector, split, phases, fitting, augmentation, tip, detecting)

    # Tasting
    detection.evaluate(run, detector, split, detecting)

    # Serving
    detection.export(run, detector, split, detecting)
