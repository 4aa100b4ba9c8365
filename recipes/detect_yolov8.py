"""Find things in images with a YOLOv8.

    tlkit run detect-yolov8 xray:bags
    tlkit run detect-yolov8 street/ --flip horizontal --no-turn    # images with an up
    tlkit run detect-yolov8 bags/ --backbone yolov8-s --weights none --image-size 512

Method: YOLOv8's pyramid and decoupled heads without anchors, task-aligned assignment, distances learned as distributions
(Jocher 2023; Feng 2021; Li 2020), built from KerasCV's classes without a hub. All layers learn from the start unless
the backbone is pretrained; the best epoch by AP50 on validation is kept. AP is COCO's.

Result: xray:bags: AP50 0.799 (0.739 to 0.861), gun 0.978, shuriken 0.910, knife 0.733, razor blade 0.576; recall 0.748,
0.868 and 0.889 at 0.1, 0.5 and 1 false alarms an image; n = 400 bags of 200 packings, seed 0, 86 minutes of one core (64
on 2 shared cores). YOLOv8-xs from random weights, --backbone yolov8-xs --weights none --epochs 0 48 --learning-rates
0.001 0.001: 0.572 (0.520 to 0.634) after 119.
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
