"""Paste threats into images of bags, with boxes, as training data for a detector.

    tlkit run composite-threats threats/ xray:bags --hold-out 'B00(79|80|81|82)_'
    tlkit run detect-yolov8 xray:bags --synthetic composite-threats-threats

Method: threat image projection (Bhowmik 2019). A threat is cut free of its bright background, turned, scaled, made
thicker or thinner (T ** k), and its transmittance multiplied into the bag where matter is. Boxes are those of its own
mask; how much else lies over it is written beside. Only threats and bags of one part meet, of training unless asked
otherwise; `--part all` makes three parts that share neither. `composites.csv` names what each image is made of.

Result: 112 composites (--copies 2) of 56 simulated bags and 91 clean real crops, seed 0: 109 threats pasted in beside
104 that were there, 17 composites empty; 33 s of processor time on 2 shared cores (AMD EPYC), most of it the look at the
crops. To a detector of guns in SIXray 120 of them are worth nothing that can be shown (does-tip-help, n = 48).
"""

import click

import tlkit
from tlkit.cli.options import detection as choices
from tlkit.tasks.compositing import bags_workflow as composites


@tlkit.recipe(split=True)
@click.argument("source", metavar="THREATS")
@click.argument("bags")
@choices.boxes()
@choices.superimposing()
def composite_threats(run, source, bags, faults, unlabelled, how):
    # Ingredients
    threats = composites.load_threats(run, source, how)
    split = composites.load_bags(run, bags, how, faults, unlabelled)
    run.stop_if_dry(composites.plan(run, how))

    # Cooking
    made = composites.compose(run, threats, split, how)

    # Serving
    composites.write_report(run, made)
