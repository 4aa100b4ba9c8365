"""Find things in images with a RetinaNet.

    tlkit run detect-retinanet xray:bags
    tlkit run detect-retinanet street/ --flip horizontal --no-turn    # images with an up

Method: a feature pyramid on a pretrained backbone, anchors at every place, and the focal loss, which learns from empty
images too (Lin 2017; KerasCV's own loss is zero there). First pyramid and heads, then everything, with the average of
the weights; the best epoch by AP50 on validation is kept. AP is COCO's.

Result: xray:bags: AP50 0.726 (0.667 to 0.789), gun 0.935, shuriken 0.953, knife 0.563, razor blade 0.454; recall 0.645,
0.803 and 0.829 at 0.1, 0.5 and 1 false alarms an image; n = 400 bags of 200 packings, seed 0, 42 minutes on 2 shared
cores (52 of one core). Whole images of 256 pixels, 8 epochs: 0.492 (0.450 to 0.541).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(1, 11)
@choices.learning_rates(1e-3, 5e-4)
@click.option(
    "--propose-anchors/--usual-anchors",
    default=None,
    help="Anchors that fit the training boxes (k-means), or Lin's.  [default: fit, or as --warm-start]",
)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 416)
@choices.fitting(batch=16, balance="resample", judge_every=2)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None)
@choices.projecting()
@choices.detecting()
def detect_retinanet(
    run,
    source,
    epochs,
    learning_rates,
    propose_anchors,
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
    detector = detection.build_detector(run, split, *network, kind="retinanet", propose=propose_anchors)
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
