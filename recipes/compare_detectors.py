"""Compare detectors, each trained for the same time on the same parts.

    tlkit run compare-detectors xray:bags --minutes 15
    tlkit run compare-detectors bags/ --detectors yolov8,faster-rcnn --minutes 30
    tlkit run compare-detectors bags/ --detectors yolov3 --minutes 30 --add compare-detectors-bags    # one more row

Method: each detector's own recipe runs in a process of its own, for so many minutes of learning, from the same backbone
and on the same parts, and leaves a run of its own. Test images are evaluated once; intervals resample groups. A run
that joins with --add is not trained again; one that learned otherwise is marked, one with other parts has no row.

Result: ten detectors on xray:bags:count=400 with --minutes 2 --image-size 416, in 32 minutes of 2 cores, n = 80 bags
with 44 objects, seed 0: RetinaNet AP50 0.373 (0.297 to 0.520), Faster R-CNN and YOLOv8 0.349, window 0.344; the order
may be chance. The table of the whole set has not been measured yet.
"""

import click

import tlkit
from tlkit.cli.options import comparison as choices
from tlkit.cli.options import detection
from tlkit.cli.own_process import OwnProcesses
from tlkit.tasks.detection.workflow import load_data
from tlkit.tasks.studies import detector_workflow as detectors


@tlkit.recipe(split=True)
@click.argument("source")
@choices.comparing()
@detection.boxes()
def compare_detectors(run, source, comparison, faults, unlabelled, **_network):
    # Ingredients
    split = load_data(run, source, faults, unlabelled)

    # Preparation
    commands = OwnProcesses(run, comparison)
    kept = detectors.check(run, comparison, commands)
    run.stop_if_dry(detectors.plan(run, comparison, kept))

    # Cooking
    finished = detectors.train(run, split, comparison, kept, commands)

    # Tasting and serving
    detectors.show(run, split, comparison, finished, commands)
