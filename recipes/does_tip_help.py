"""Find out whether threats pasted into empty bags help a detector that has seen few real ones.

    tlkit run does-tip-help bags/ --threats crops/ --numbers 0,20,50
    tlkit run does-tip-help bags/ --threats crops/ --arms tip,fakes+tip --generated synthesize-dcgan-crops

Method: for each number of real training images with a threat, and several draws of them (smaller ones inside larger
ones, groups whole), detectors (YOLOv8s, or --detector retinanet) learn from them and all empty training images:
alone ("nothing"), with threat crops pasted into those empty images ("tip", Bhowmik 2019), with the images of
synthesising runs pasted in too ("fakes+tip"), or with threat crops pasted into any training image at every step
("live"). --epochs counts passes over what "nothing" has at the largest number; every arm has as many steps, for more
images must not be more training, and none stops early unless --patience says so. Classes and empty images come equally
often (--balance resample). The best epoch is chosen on the same real validation part; the test part is evaluated once.
With 0, composites alone teach; there is no "nothing". No crop may be an evaluated image by sha256; that one was not cut
out of such an image you must know.

Result: SIXray (guns and knives, bags with wrenches as empty ones), clean GDXray guns pasted in (--composites 120,
thickness 0.4 to 0.9), a RetinaNet started from xray:bags, 416 pixels in crops of 192, 216 steps a training, three
draws, n = 48 bags with 32 objects: with 90 real images AP50 is 0.649 alone and 0.556 with composites (gain -0.232 to
+0.061): no difference that can be shown, nor by guns pasted in at every step (-0.109 to +0.114). Composites alone reach
0.035 (seed 0, an hour on 2 shared cores beside other work).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.studies import composites_workflow as tip


@tlkit.recipe(split=True)
@click.argument("source")
@choices.epochs(0, 40)
@choices.learning_rates(1e-3, 1e-3)
@choices.tip()
@choices.boxes()
@choices.network("yolov8-xs", "none", 320)
@choices.fitting(timed=False, patience=10_000, balance="resample")
@choices.augmentation()
@choices.detecting()
def does_tip_help(run, source, question, epochs, learning_rates, faults, unlabelled, **how):
    # Ingredients
    data = tip.load_data(run, source, question, faults, unlabelled)

    # Preparation
    phases = [
        tlkit.Phase(s, s, *way) for s, *way in zip(("head", "all"), epochs, learning_rates, strict=True)
    ]
    training = tip.Training(phases=tuple(phases), **how)
    run.stop_if_dry(tip.plan(run, data, training))

    # Cooking
    cells = tip.answer(run, data, training)

    # Tasting
    tip.evaluate(run, data, training, cells)
