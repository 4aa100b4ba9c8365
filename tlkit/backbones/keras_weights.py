"""The files of ImageNet weights that the Keras project publishes: names, hashes, the cache, and fetching one.

Keras can do this itself, but it builds the network first, waits without limit where the network is dead,
prints to stdout, deletes a file whose hash is another, and raises a bare Exception. A test compares this
table with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import tempfile
import urllib.request
from pathlib import Path
from posixpath import join
from typing import BinaryIO, NamedTuple

from tlkit.core.files import UNWRITABLE
from tlkit.errors import ModelFault

HOST = "https://storage.googleapis.com"
PATIENCE = 20.0  # seconds without a byte until the network is said to be absent
_APPLICATIONS = "tensorflow/keras-applications"
_NO_TOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"


class KerasWeights(NamedTuple):
    """A file of weights without the classification head.

    Attributes:
        path: Path on the host.
        digest: md5 (32 letters) or sha256 (64), hexadecimal; None where Keras gives none.
        saved_as: Name in the cache where it is another than in the path.
    """

    path: str
    digest: str | None
    saved_as: str = ""

    @property
    def file(self) -> str:
        """The file's name in the cache."""
        return self.saved_as or self.path.rpartition("/")[2]


# Path below the folder of keras-applications, or from the root of the host on, and digest.
_FILES: dict[str, tuple[str, str | None]] = {
    "mobilenet": ("mobilenet/mobilenet_1_0_224_tf_no_top.h5", None),
    "mobilenet-0.25": ("mobilenet/mobilenet_2_5_224_tf_no_top.h5", None),
    "mobilenet-v2-0.35": (
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        None,
    ),
    "mobilenet-v2": ("mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None),
    "mobilenet-v3-small": (
        "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenet-v3-large": (
        "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389",
    ),
    "nasnet-mobile": ("nasnet/NASNet-mobile-no-top.h5", "1ed92395b5b598bdda52abe5c0dbfd63"),
    "nasnet-large": ("nasnet/NASNet-large-no-top.h5", "d81d89dc07e6e56530c4e77faddd61b5"),
    "efficientnet-b0": ("/keras-applications/efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"),
    "efficientnet-b1": ("/keras-applications/efficientnetb1_notop.h5", "74c4e6b3e1f6a1eea24c589628592432"),
    "efficientnet-b2": ("/keras-applications/efficientnetb2_notop.h5", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "efficientnet-b3": ("/keras-applications/efficientnetb3_notop.h5", "af6d107764bb5b1abb91932881670226"),
    "efficientnet-b4": ("/keras-applications/efficientnetb4_notop.h5", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "efficientnet-b5": ("/keras-applications/efficientnetb5_notop.h5", "38879255a25d3c92d5e44e04ae6cec6f"),
    "efficientnet-b6": ("/keras-applications/efficientnetb6_notop.h5", "9ecce42647a20130c1f39a5d4cb75743"),
    "efficientnet-b7": ("/keras-applications/efficientnetb7_notop.h5", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
    "efficientnet-v2-b0": ("efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff"),
    "efficientnet-v2-b1": ("efficientnet_v2/efficientnetv2-b1_notop.h5", "0e80663031ca32d657f9caa404b6ec37"),
    "efficientnet-v2-b2": ("efficientnet_v2/efficientnetv2-b2_notop.h5", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "efficientnet-v2-b3": ("efficientnet_v2/efficientnetv2-b3_notop.h5", "f6abf7b5849ac99a89b50dd3fd532856"),
    "efficientnet-v2-s": ("efficientnet_v2/efficientnetv2-s_notop.h5", "af0682fb74e8c54910f2d4393339c070"),
    "efficientnet-v2-m": ("efficientnet_v2/efficientnetv2-m_notop.h5", "1b8dc055df72dde80d614482840fe342"),
    "efficientnet-v2-l": ("efficientnet_v2/efficientnetv2-l_notop.h5", "b0b66b5c863aef5b46e8608fe1711615"),
    "densenet121": (f"densenet/densenet121{_NO_TOP}", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": (f"densenet/densenet169{_NO_TOP}", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": (f"densenet/densenet201{_NO_TOP}", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "resnet50": (f"resnet/resnet50{_NO_TOP}", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": (f"resnet/resnet101{_NO_TOP}", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": (f"resnet/resnet152{_NO_TOP}", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50-v2": (f"resnet/resnet50v2{_NO_TOP}", "fac2f116257151a9d068a22e544a4917"),
    "resnet101-v2": (f"resnet/resnet101v2{_NO_TOP}", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152-v2": (f"resnet/resnet152v2{_NO_TOP}", "ed17cf2e0169df9d443503ef94b23b33"),
    "inception-v3": (f"inception_v3/inception_v3{_NO_TOP}", "bcbd6486424b2319ff4ef7d526e38f63"),
    "inception-resnet-v2": (
        f"inception_resnet_v2/inception_resnet_v2{_NO_TOP}",
        "d19885ff4a710c122648d3b5c3b684e4",
    ),
    "xception": (f"xception/xception{_NO_TOP}", "b0042744bf5b25fce3cb969f33bebb97"),
    "convnext-tiny": (
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "convnext-small": (
        "convnext/convnext_small_notop.h5",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
    "convnext-base": (
        "convnext/convnext_base_notop.h5",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
    "convnext-large": (
        "convnext/convnext_large_notop.h5",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
    "convnext-xlarge": (
        "convnext/convnext_xlarge_notop.h5",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
    "vgg16": (f"vgg16/vgg16{_NO_TOP}", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": (f"vgg19/vgg19{_NO_TOP}", "253f8cb515780f3b799900260a226db6"),
}
_SAVED_AS = {"nasnet-mobile": "nasnet_mobile_no_top.h5", "nasnet-large": "nasnet_large_no_top.h5"}
KERAS_WEIGHTS = {
    name: KerasWeights(join(_APPLICATIONS, path).lstrip("/"), digest, _SAVED_AS.get(name, ""))
    for name, (path, digest) in _FILES.items()
}


# Files that others publish: used where a person has put them into the Keras cache, never fetched.
_BY_HAND = {"squeezenet": f"squeezenet{_NO_TOP}"}  # of keras-squeezenet


def keras_cache() -> Path:
    """The folder in which Keras keeps published weights: $KERAS_HOME/models, by default ~/.keras/models."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def keras_weights_file(backbone: str) -> tuple[Path, str]:
    """The file of a backbone's ImageNet weights, fetched if the cache has none.

    Args:
        backbone: A name of the table of backbones.

    Returns:
        The file and a sentence that says where it came from.

    Raises:
        ModelFault: Keras publishes none for this backbone.
        ModelFault: There is no network, or a file is not the one that was published.
    """
    if backbone not in KERAS_WEIGHTS:
        path = keras_cache() / _BY_HAND.get(backbone, "")
        if path.is_file():
            return path, f"Keras cache {path}"
        raise ModelFault(
            f"Keras publishes no imagenet weights of {backbone}.",
            "Give --weights FILE.onnx (as in the ONNX model zoo) or FILE.h5, or take --weights none.",
        )
    entry = KERAS_WEIGHTS[backbone]
    path = keras_cache() / entry.file
    if path.is_file():
        _check(path, entry, path)
        return path, f"Keras cache {path}"
    _fetch(backbone, entry, path)
    return path, f"downloaded from {HOST}/{entry.path} to {path}"


def _fetch(backbone: str, entry: KerasWeights, path: Path) -> None:
    """Download beside the path, check, rename: a broken download leaves nothing behind."""
    remedy = (
        f"Put {entry.file} into {path.parent}, or take --weights none or --weights FILE,"
        " or --backbone efficientnet-lite0, which needs no network."
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            _download(f"{HOST}/{entry.path}", file)
        _check(Path(name), entry, path)
        Path(name).replace(path)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in UNWRITABLE:
            raise _unwritable(path, error) from error
        reason = getattr(error, "reason", error)
        raise ModelFault(f"No network for the imagenet weights of {backbone} ({reason}).", remedy) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _unwritable(path: Path, error: Exception) -> ModelFault:
    """Why a file of weights cannot be kept, with the name of the place that can be another."""
    return ModelFault(
        f"{path.parent} cannot be written: {getattr(error, 'strerror', error)}.",
        "Let KERAS_HOME name a folder that can be written, or take --weights none or --weights FILE,"
        " or --backbone efficientnet-lite0, which needs no file of Keras.",
    )


def _download(url: str, file: BinaryIO) -> None:
    """Copy the url's content; a connection that ends early is an OSError."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 (a constant host)
        received = 0
        while block := answer.read(1 << 20):
            file.write(block)
            received += len(block)
        if received < int(answer.headers.get("Content-Length", 0)):
            raise ConnectionError(f"the connection ended after {received:,} bytes")


def _check(path: Path, entry: KerasWeights, shown: Path) -> None:
    """Compare the file with the published hash, where there is one."""
    if entry.digest is None:
        return
    kind = "md5" if len(entry.digest) == 32 else "sha256"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != entry.digest:
        raise ModelFault(
            f"{shown} is not the published file: its {kind} is {found}, not {entry.digest}.",
            "Delete it to have it fetched again, or take it as it is with --weights FILE.",
        )
