"""Find things in images with a finished classifier, moved over them as a window.

    tlkit convert xray:bags crops --to crops
    tlkit run fine-tune crops/labels.csv
    tlkit run slide-window xray:bags --classifier fine-tune-crops
    tlkit run slide-window bags/ --classifier fine-tune-crops --step 0.15 --soft 0.5

Method: the image at several scales and aspects, a window of the classifier's size moved over each in steps, all
windows classified in batches; where its layers do not pad, the maps of a whole level are computed once (OverFeat,
Sermanet 2014). One class of the classifier stands for nothing. Duplicates go by NMS, or fade by soft-NMS (Bodla 2017).
Windows are as large as the training boxes are; the threshold is chosen on validation, and test is evaluated once, as the
other detectors are.

Result: xray:bags with a small-cnn of 48 pixels that learned from `tlkit convert xray:bags crops --to crops --each 8`
(eta 0.156 on test crops, 15 minutes): AP50 0.004 (0.001 to 0.016), shuriken 0.017, n = 400 bags of 200 packings, seed
0, 18 minutes on 2 shared cores: such a network knows too little for 28,000 windows an image. The windows of an image
of 416 px take 0.3 s convolutionally (small-cnn of 32 px, 1,718) and 12 s in batches (MobileNet at 64 px, 3,632).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.detection import workflow as detection
from tlkit.tasks.detection.sliding_window import workflow as sliding


@tlkit.recipe(split=True)
@click.argument("source")
@choices.boxes()
@choices.windows()
def slide_window(run, source, faults, unlabelled, classifier, negative, windows):
    # Ingredients
    split = detection.load_data(run, source, faults, unlabelled)

    # Preparation
    detector = sliding.build_windows(run, split, classifier, negative, windows)
    run.stop_if_dry(sliding.plan(run, detector))

    # Tasting
    detecting = sliding.choose_threshold(run, detector, split)
    sliding.evaluate(run, detector, split, detecting)

    # Serving
    detection.export(run, detector, split, detecting)
