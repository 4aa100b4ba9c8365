"""Find things in images with a YOLOv8.

    tlkit run detect-yolov8 xray:bags
    tlkit run detect-yolov8 street/ --flip horizontal --no-turn    # images with an up
    tlkit run detect-yolov8 bags/ --backbone yolov8-s --weights none --image-size 512

Method: YOLOv8's pyramid and decoupled heads without anchors, task-aligned assignment, distances learned as distributions
(Jocher 2023; Feng 2021; Li 2020), built from KerasCV's classes without a hub. All layers learn from the start unless
the backbone is pretrained; the best epoch by AP50 on validation is kept. AP is COCO's.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: xray:bags, an hour of 2 cores (5,828 steps): AP50 0.847 (0.778 to 0.900), gun 0.959, shuriken 0.948, knife 0.678,
razor blade 0.804; recall 0.845, 0.916 and 0.929 at 0.1, 0.5 and 1 false alarms an image; n = 400 bags of 200 packings of
another seed (seed 7), evaluated once. On its own test part (seed 0, n = 400) 0.890 (0.843 to 0.933).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(3, 63)
@choices.learning_rates(1e-3, 5e-4)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
@choices.projecting()
@choices.detecting()
def detect_yolov8(
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
    detector = detection.build_detector(run, split, *network, kind="yolov8")
    phases = [
        tlkit.Phase(s, s, *how) for s, *how in zip(("head", "all"), epochs, learning_rates, strict=True)
    ]
    run.stop_if_dry(detection.plan(run, phases, detector, augmentation))

    # Cooking
    detection.fit(run, detector, split, phases, fitting, augmentation, tip, detecting)

    # Tasting
    detection.evaluate(run, detector, split, detecting)

    # Serving
    detection.export(run, detector, split, detecting)
