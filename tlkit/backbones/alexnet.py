"""AlexNet, ZFNet-512 and the CaffeNet of R-CNN: five convolutions and two fully connected layers.

They give the last hidden fully connected layer as a map of one pixel, so that the rest of tlkit, which pools a map,
needs not know of them. Fully connected layers are convolutions as large as the map before them: the same sums, and
they fit one image size only. Layers have the names of the ONNX model zoo's files, whose paddings these networks have.
"""

from __future__ import annotations

import keras
from keras import layers

from tlkit.backbones.layers import GroupedConvolution, LocalResponseNormalization

Shape = tuple[int | None, int | None, int]


def alexnet(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (224, 224, 3),
) -> keras.Model:
    """AlexNet as BVLC trained it in Caffe; the arguments are those of keras.applications.

    Args:
        include_top: Add the 1,000 ImageNet classes (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: 224, 224, 3.

    Returns:
        float [b, 224, 224, 3], BGR minus mean -> [b, 1, 1, 4096] (fc7); with top, [b, 1000].

    Source: Krizhevsky 2012, section 3; bvlc_alexnet of the ONNX model zoo.
    """
    pixels = keras.Input(input_shape)
    x = _convolution(pixels, "conv1", 96, kernel=11, stride=4)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _grouped(x, "conv2", 256, kernel=5)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _last_convolutions(x)
    # 12 pixels a side: the file has one more row and column, which cannot win after a ReLU.
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="pool5_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = _connected(x, "fc6", 4096)
    x = layers.Dropout(0.5, name="drop6")(x)
    x = _connected(x, "fc7", 4096)
    if include_top:
        x = layers.Dropout(0.5, name="drop7")(x)
        x = _classes(x, "fc8", 1000, "softmax")
    return keras.Model(pixels, x, name="alexnet")


def zfnet512(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (224, 224, 3),
) -> keras.Model:
    """The network of Zeiler and Fergus with 512 channels in its last convolutions.

    Args:
        include_top: Add the 1,000 ImageNet classes (softmax).
        weights: Only None: weights are loaded afterwards.
        input_shape: 224, 224, 3.

    Returns:
        float [b, 224, 224, 3], BGR minus mean -> [b, 1, 1, 1024] (fc7); with top, [b, 1000].

    Source: Zeiler 2014, section 4.1; zfnet512 of the ONNX model zoo.
    """
    pixels = keras.Input(input_shape)
    x = _convolution(pixels, "conv1", 96, kernel=7, stride=2)
    x = LocalResponseNormalization(alpha=5e-4, bias=2.0, name="norm1")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _convolution(x, "conv2", 256, kernel=5, stride=2)
    x = LocalResponseNormalization(alpha=5e-4, bias=2.0, name="norm2")(x)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    for number in (3, 4, 5):
        x = _convolution(x, f"conv{number}", 512, padding="same")
    x = layers.MaxPooling2D(2, 2, name="pool5")(x)
    x = _connected(x, "fc6", 4096)
    x = _connected(x, "fc7", 1024)
    if include_top:
        x = _classes(x, "fc8", 1000, "softmax")
    return keras.Model(pixels, x, name="zfnet512")


def rcnn_ilsvrc13(
    *,
    include_top: bool = False,
    weights: None = None,  # noqa: ARG001
    input_shape: Shape = (227, 227, 3),
) -> keras.Model:
    """CaffeNet as R-CNN used it on ILSVRC13: AlexNet with its pooling before the normalisation.

    It was never compared with a file: the PyPI package `onnx`, our oracle for the others, has none of it. At 227
    pixels every window ends at an edge, so Caffe's rounding up changes nothing.

    Args:
        include_top: Add the scores of the 200 detection classes: the weights of R-CNN's support vector machines.
        weights: Only None: weights are loaded afterwards.
        input_shape: 227, 227, 3.

    Returns:
        float [b, 227, 227, 3], BGR minus mean -> [b, 1, 1, 4096] (fc7); with top, scores [b, 200].

    Source: Girshick 2014, section 2.2; bvlc_reference_caffenet and bvlc_reference_rcnn_ilsvrc13 of Caffe.
    """
    pixels = keras.Input(input_shape)
    x = _convolution(pixels, "conv1", 96, kernel=11, stride=4)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = _grouped(x, "conv2", 256, kernel=5)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = _last_convolutions(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = _connected(x, "fc6", 4096)
    x = layers.Dropout(0.5, name="drop6")(x)
    x = _connected(x, "fc7", 4096)
    if include_top:
        x = layers.Dropout(0.5, name="drop7")(x)
        x = _classes(x, "fc-rcnn", 200, None)
    return keras.Model(pixels, x, name="rcnn-ilsvrc13")


def _last_convolutions(x) -> keras.KerasTensor:
    """The three convolutions that AlexNet and CaffeNet share."""
    x = _convolution(x, "conv3", 384, padding="same")
    x = _grouped(x, "conv4", 384)
    return _grouped(x, "conv5", 256)


def _convolution(
    x, name: str, filters: int, kernel: int = 3, stride: int = 1, padding: str = "valid"
) -> keras.KerasTensor:
    """A convolution with bias and ReLU."""
    return layers.Conv2D(filters, kernel, stride, padding, activation="relu", name=name)(x)


def _grouped(x, name: str, filters: int, kernel: int = 3) -> keras.KerasTensor:
    """A convolution in two groups, which lay on two GPUs in 2012, with bias and ReLU."""
    return GroupedConvolution(filters, kernel, padding="same", groups=2, activation="relu", name=name)(x)


def _connected(x, name: str, units: int) -> keras.KerasTensor:
    """A fully connected layer with ReLU: a convolution over the whole map."""
    return layers.Conv2D(units, (x.shape[1], x.shape[2]), activation="relu", name=name)(x)


def _classes(x, name: str, count: int, activation: str | None) -> keras.KerasTensor:
    """The scores or probabilities of the classes, [b, count]."""
    return layers.Dense(count, activation=activation, name=name)(layers.Flatten(name="flatten")(x))
