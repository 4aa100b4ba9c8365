"""Find things in images with a RetinaNet.

    tlkit run detect-retinanet xray:bags
    tlkit run detect-retinanet street/ --flip horizontal --no-turn    # images with an up

Method: a feature pyramid on a pretrained backbone, anchors at every place, and the focal loss, which learns from empty
images too (Lin 2017; KerasCV's own loss is zero there). First pyramid and heads, then everything, with the average of
the weights; the best epoch by AP50 on validation is kept. AP is COCO's.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: xray:bags, 44 minutes of 2 cores (5,280 steps): AP50 0.831 (0.765 to 0.892), gun 0.960, shuriken 0.970, knife
0.638, razor blade 0.756; recall 0.805, 0.920 and 0.934 at 0.1, 0.5 and 1 false alarms an image; n = 400 bags of 200
packings of another seed (seed 7), evaluated once. On its own test part (seed 0, n = 400) 0.869 (0.818 to 0.917).
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
@click.option(
    "--propose-anchors/--usual-anchors",
    default=None,
    help="Anchors that fit the training boxes (k-means), or Lin's.  [default: fit, or as --warm-start]",
)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
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
