"""Find things in images with a Fast R-CNN.

    tlkit run detect-fast-rcnn xray:bags
    tlkit run detect-fast-rcnn bags/ --pooling align --stride 8

Method: Selective Search proposes regions, whatever they show; all are pooled from one map of the image by ROI max
pooling, and two layers say which class each is, or background, and where its box lies, by class (Girshick 2015). The map
has stride 4 and the coarser ones merged into it (Lin 2017). Of an image 64 regions are learned, drawn from seed and
step; all its proposals are judged, up to 1,000. First map and box head learn, then everything, with the average of the
weights; the best epoch by AP50 on validation is kept. No object is found that no proposal is near: their recall stands
beside AP. AP is COCO's.

It learns squares of 224 pixels cut out of images of 576, and finds in whole ones; --crop 0 learns whole images.

Result: not measured yet: neither n = 400 test bags of xray:bags, seed 0, on 2 cores, nor fewer.
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.cli.options import rcnn as more
from tlkit.tasks.compositing import online_workflow as projection
from tlkit.tasks.detection import workflow as detection


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(3, 37)
@choices.learning_rates(1e-3, 5e-4)
@more.shared_map()
@choices.boxes()
@choices.network("efficientnet-lite0", "imagenet", 576)
@choices.fitting(batch=16, balance="resample", judge_every=8)
@choices.augmentation(flip="both", turn=True, gamma=0.0, crop=None, usual_crop=224)
@choices.projecting()
@choices.detecting(overlap=0.3)
def detect_fast_rcnn(
    run,
    source,
    epochs,
    learning_rates,
    shared,
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
    detector = detection.build_detector(run, split, *network, kind="fast-rcnn", **shared)
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
