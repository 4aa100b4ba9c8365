"""Find things in images with a Faster R-CNN.

    tlkit run detect-faster-rcnn xray:bags
    tlkit run detect-faster-rcnn bags/ --form paper --image-size 608    # one map, as Ren 2015

Method: a network proposes regions from anchors at five strides from 4 on; each is pooled from a pyramid by ROIAlign, and
two layers say which class it is and where its box lies, by class; both learn jointly (Ren 2015; Lin 2017; He 2017). Of
an image 256 anchors and 64 regions are learned, drawn from seed and step; 1,000 proposals are judged. First both stages,
then everything, with the average of the weights; the best epoch by AP50 on validation is kept. AP is COCO's.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: not measured yet: neither n = 400 test bags of xray:bags, seed 0, on 2 cores, nor fewer.
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
    "--form",
    type=click.Choice(["pyramid", "paper"]),
    default="pyramid",
    help="Paper: one map of stride 16, nine anchors a place, ROI max pooling, layers of 4,096.",
)
@click.option(
    "--propose-anchors/--usual-anchors",
    default=None,
    help="Anchors that fit the training boxes (k-means), or the paper's.  [default: fit, or as --warm-start]",
)
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
@choices.projecting()
@choices.detecting()
def detect_faster_rcnn(
    run,
    source,
    epochs,
    learning_rates,
    form,
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
    own = {"kind": "faster-rcnn", "form": form, "propose": propose_anchors}
    detector = detection.build_detector(run, split, *network, **own)
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
