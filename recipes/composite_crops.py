"""Set clean threats into clutter, as an X-ray of a bag shows them.

    tlkit run composite-crops threats/ --hold-out 'B00(79|80|81|82)_'
    tlkit run fit-head threats/ --hold-out 'B00(79|80|81|82)_' --more composite-crops-threats --select validation

Method: threat image projection (Bhowmik 2019). A threat is cut free of its bright background, turned, scaled, made
thicker or thinner (T ** k), and its transmittance multiplied into that of clutter: crops of other matter, simulated
belongings, or both. Threat-free pictures are made of the same clutter, so that clutter itself says nothing. Only the
training part is used, and `composites.csv` names what each picture was made of.

Result: to be measured; n = 0, seed 0, 2 cores.
"""

import click

import tlkit
from tlkit.cli import composite_chapters as composites
from tlkit.cli import game_choices


@tlkit.recipe(split=True)
@click.argument("source")
@game_choices.clutter()
def composite_crops(run, source, how):
    # Ingredients
    split = tlkit.deal(run, source)
    run.stop_if_dry({"classes": list(split.images.class_names)})
    crops = composites.read_crops(run, split, how)

    # Cooking
    made = composites.compose(run, split, crops, how)

    # Serving
    composites.write_page(run, crops, made)
