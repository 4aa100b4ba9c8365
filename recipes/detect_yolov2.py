"""Find things in images with a YOLOv2.

    tlkit run detect-yolov2 xray:bags
    tlkit run detect-yolov2 bags/ --anchors anchors.txt --image-size 512

Method: one grid of stride 32 with five anchors a cell, found by k-means of the training boxes; offsets stay within the
cell, one class of all is chosen, confidence learns how well a box fits, and a passthrough brings the map of stride 16
(Redmon 2017). Every ten steps another size is learned, 320 to 608 pixels for 416 and in proportion for crops; one is
served. First the head, then everything, with the average of the weights; the best epoch by AP50 on validation is kept.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: xray:bags, 34 minutes of 2 cores beside other work (3,520 steps): AP50 0.745 (0.679 to 0.821), gun 0.894,
shuriken 0.936, knife 0.502, razor blade 0.648; recall 0.717, 0.827 and 0.858 at 0.1, 0.5 and 1 false alarms an image;
n = 400 bags of 200 packings of another seed (seed 7), evaluated once. On its own test part (seed 0, n = 400) 0.771
(0.715 to 0.831).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(3, 37)
@choices.learning_rates(1e-3, 5e-4)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.anchors()
@click.option("--one-size", is_flag=True, help="Learn at the image's or crop's own size instead of several.")
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
@choices.projecting()
@choices.detecting()
def detect_yolov2(
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
    one_size,
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
    detector = detection.build_detector(
        run, split, *network, kind="yolov2", anchors=anchors, one_size=one_size
    )
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
