"""Turn images into features on disk, each computed once.

    tlkit run extract-features xray:crops
    tlkit run extract-features photos/ --backbone lbp
    tlkit run extract-features photos/ --backbone mobilenet --layer conv_pw_6_relu
    tlkit run extract-features photos/ --layers

Method: a pretrained network up to a layer, maps averaged over their places (the course's S10); or a hand-made family
(lbp, haralick, fourier, gabor, hog, intensity, pixels); or an ONNX file. Rows are cached by the image's content: a
second run computes nothing, one new image costs one image. features.npy is float32 [n, d]:
numpy.load(file, mmap_mode="r"); index.csv says which image, class, group and part each row is.

Result: the first command, 600 images on 2 cores (AMD EPYC, no GPU, shared with other work): float32 [600, 1280] in 75
s, most of it the network; again, 0 images computed. n = 600, seed 0 (the seed moves only the split).
"""

import click

import tlkit
from tlkit.cli.options import classification as choices


@tlkit.recipe(split=True)
@click.argument("source")
@click.option(
    "--layer", default="pooled", show_default=True, metavar="NAME", help="pooled, logits or a layer's name."
)
@click.option("--layers", is_flag=True, help="List the layers and stop.")
@click.option(
    "--engine",
    type=click.Choice(["tensorflow", "onnx", "openvino", "openvino-bf16"]),
    default="tensorflow",
    show_default=True,
    help="What computes a network on a CPU; the others need extras.",
)
@click.option("--parquet", is_flag=True, help="Write features.parquet too.")
@choices.extractor()
def extract_features(run, source, layer, layers, engine, parquet, backbone, weights, image_size):
    if layers:
        tlkit.show_layers(run, backbone, image_size)

    # Ingredients
    split = tlkit.load_data(run, source)

    # Preparation
    featurizer = tlkit.build_extractor(run, backbone, weights, image_size, layer, engine)
    run.stop_if_dry(tlkit.plan_features(run, split, featurizer))

    # Cooking
    features = tlkit.extract(run, split, featurizer)

    # Serving
    tlkit.write_features(run, split, features, featurizer, parquet=parquet)
