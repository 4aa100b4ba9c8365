"""Find things in images with a window that is moved over them.

    tlkit run slide-window xray:bags --views turned --minutes 40
    tlkit convert xray:bags crops --to crops
    tlkit run fine-tune crops/labels.csv
    tlkit run slide-window xray:bags --classifier fine-tune-crops
    tlkit run slide-window bags/ --classifier fine-tune-crops --step 0.15 --soft 0.5

Method: the maps of a pretrained network at several sizes of the image are computed once (OverFeat, Sermanet 2014).
Windows are 3 by 3 means of them, and a head says class or nothing and moves them. It learned from windows pooled in
this same way; its false alarms on training images join them, in rounds (Sung 1998). With --classifier a finished
classifier is moved instead: its windows are cut out or, where its layers do not pad, taken from maps that are computed
once. Duplicates go by NMS, or fade by soft-NMS (Bodla 2017). The threshold is chosen on validation, and test is
evaluated once.

Result: the pooled form on xray:bags has not been measured yet. A small-cnn of 48 pixels that learned from `tlkit convert
xray:bags crops --to crops --each 8` (eta 0.156 on test crops, 15 minutes), moved: AP50 0.004 (0.001 to 0.016), shuriken
0.017, n = 400 bags of 200 packings, seed 0, 18 minutes on 2 shared cores. The windows of an image of 416 px take 0.3 s
convolutionally (small-cnn of 32 px, 1,718) and 12 s in batches (MobileNet at 64 px, 3,632).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.cli.options import windows as more
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.sliding_window import workflow as sliding


@tlkit.recipe(split=True)
@click.argument("source")
@choices.boxes()
@choices.windows()
@more.own_head()
def slide_window(run, source, faults, unlabelled, classifier, negative, windows, learning):
    # Ingredients
    split = detection.load_data(run, source, faults, unlabelled)

    # Preparation
    detector = sliding.build_windows(run, split, classifier, negative, windows, learning)
    run.stop_if_dry(sliding.plan(run, detector, learning))

    # Cooking
    sliding.fit(run, detector, split, learning)

    # Tasting
    detecting = sliding.choose_threshold(run, detector, split)
    sliding.evaluate(run, detector, split, detecting)

    # Serving
    detection.export(run, detector, split, detecting)
