"""Find things in images with a YOLOv1.

    tlkit run detect-yolov1 xray:bags
    tlkit run detect-yolov1 bags/ --backbone resnet50 --cells 26
    tlkit run detect-yolov1 bags/ --form paper --image-size 448 --epochs 0 100

Method: a grid of cells behind dense layers; the cell in which an object's middle lies answers for it, with boxes, how
sure each is, and one class; squared errors of it all (Redmon 2016). On a pretrained backbone, or in the paper's form
with its 24 convolutions. The best epoch by AP50 on validation is kept. AP is COCO's.

Result: it finds nothing in xray:bags: with --epochs 3 12 --learning-rates 1e-3 5e-4 --balance resample --flip both
--turn --gamma 0 --shift 0.2 --evaluate-every 4 AP50 0.000 (0.000 to 0.154); n = 400 bags of 200 packings, seed 0, 21
minutes of 2 cores (1,320 steps). Each cell learns from its own objects alone, of which an epoch has a handful.
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(20, 20)
@choices.learning_rates(1e-3, 1e-4)
@choices.grid()
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 416)
@choices.fitting()
@choices.augmentation("yolov1")
@choices.projecting()
@choices.detecting()
def detect_yolov1(
    run,
    source,
    epochs,
    learning_rates,
    grid,
    faults,
    unlabelled,
    backbone,
    weights,
    start,
    image_size,
    precision,
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
    detector = detection.build_detector(run, split, *network, kind="yolov1", **grid)
    run.say(f"Network: {detector.count_params():,} parameters.")
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
