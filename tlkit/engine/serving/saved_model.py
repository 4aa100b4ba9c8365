"""SavedModels of ours: written with their signatures, loaded, and asked about files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, NamedTuple, Self, TypeVar

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tlkit.core.safe_loading.saved_models import damaged, first_line, load_saved_model
from tlkit.data.images.decoding.decode import NATIVE_STARTS, as_contents, decode_and_resize, read_contents
from tlkit.data.images.inspection import Inspection, inspect_contents, inspect_file
from tlkit.engine.serving.signatures import CLASSES, answering, classes_signature, loading, served_classes
from tlkit.errors import DataFault

BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
Answer = TypeVar("Answer")  # what a kind of model says of one file


class InMemory(NamedTuple):
    """An image that lies in no file.

    Attributes:
        path: What stands for it in answers and messages.
        image: The contents of a file, or pixels uint8 [h, w, 3], RGB.
    """

    path: str
    image: bytes | np.ndarray


class Service(tf.Module):
    """The signatures of a model that answers about images, over one set of weights.

    Subclasses say what they answer, in `from_instances` and `from_pixels`.

    Args:
        model: Its weights are stored, once.
        class_names: [k], in the order of the model's outputs.
    """

    def __init__(self, model: keras.Model, class_names: Sequence[str]) -> None:
        super().__init__()
        self.weights = [weight.value for weight in model.weights]
        self._names = tuple(class_names)

    def signatures(self) -> dict[str, Any]:
        """By name, the functions that the SavedModel offers; `classes` takes nothing, each other one tensor."""
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
        return {
            CLASSES: classes_signature(self._names),
            "serving_default": tf.function(self.from_bytes, [BYTES], autograph=False),
            "instances": tf.function(self.from_instances, [BYTES], autograph=False),
            "pixels": tf.function(self.from_pixels, [images], autograph=False),
        }

    def save(self, folder: Path) -> None:
        """Write saved_model.pb and variables/ directly in a folder, which is made where it is missing."""
        tf.saved_model.save(self, str(folder), signatures=self.signatures())

    def from_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [n], each the contents of a file -> what `from_instances` says, and classes string [k], all names."""
        return self._with_classes(self.from_instances(image_bytes))

    def from_instances(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `from_bytes` without classes, which have no batch axis.

        TensorFlow Serving's REST form {"instances": ...} and its batching want one on every output
        (github.com/tensorflow/serving, issue 1047).
        """
        raise NotImplementedError

    def from_pixels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """uint8 [n, h, w, 3], RGB, any size -> as `from_bytes`."""
        raise NotImplementedError

    def _with_classes(self, answer: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**answer, CLASSES: tf.constant(self._names)}


class Loaded(ABC, Generic[Answer]):
    """A SavedModel of ours, loaded, that answers about files.

    Attributes:
        classes: [k] class names.
    """

    what = ""  # it is, in messages
    output = ""  # that only this kind has

    def __init__(self, folder: Path) -> None:
        self._model = load_saved_model(folder)  # the signatures live only as long as it does
        self._folder = folder
        self._answer = self._model.signatures["serving_default"]
        if self.output not in self._answer.structured_outputs:
            raise KeyError(self.output)
        self.classes = served_classes(self._model, folder, lambda: self._asked([_grey_png()]))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the SavedModel in `folder`.

        Raises:
            ModelFault: There is none, or it is not one of this kind.
        """
        with loading(folder, cls.what):
            return cls(folder)

    def predict_files(
        self,
        paths: Sequence[Path | InMemory],
        batch: int = 32,
        *,
        skipped: list[tuple[str, str]] | None = None,
    ) -> list[Answer]:
        """Ask about images.

        Args:
            paths: [n] files, or images in memory; formats that TensorFlow does not know are read through Pillow.
            batch: Images a step.
            skipped: Takes (path, reason) of each file that cannot be used, and the rest goes on.

        Returns:
            [n] answers in the order of `paths`, less the skipped ones.

        Raises:
            DataFault: A file cannot be used and there is no `skipped`; its message names the file.
        """
        found: list[Answer] = []
        bad: list[tuple[str, str]] = []
        given = [path if isinstance(path, InMemory) else Path(path) for path in paths]
        for chosen, contents in _read_ahead(given, batch):
            found += self._predict(chosen, contents, bad)
            if bad and skipped is None:
                raise DataFault(f"{bad[0][0]} {bad[0][1]}.", "Take it out, or save it again as PNG or JPEG.")
        if skipped is not None:
            skipped += bad
        return found

    def _predict(
        self, paths: Sequence[Path | InMemory], contents: Sequence[bytes], bad: list[tuple[str, str]]
    ) -> list[Answer]:
        """One call for all; where a file breaks it, one call each, so that it can be named."""
        try:
            with answering(self._folder):
                answer = self._asked(contents)
        except tf.errors.InvalidArgumentError:
            if len(paths) > 1:
                pairs = zip(paths, contents, strict=True)
                return [one for path, bytes_ in pairs for one in self._predict([path], [bytes_], bad)]
            error = _inspect(paths[0]).error
            if not error:
                self._check_itself()
            bad.append((_name(paths[0]), error or "cannot be decoded"))
            return []
        with answering(self._folder):
            return self._told(
                [_name(path) for path in paths], {name: value.numpy() for name, value in answer.items()}
            )

    def _asked(self, contents: Sequence[bytes]) -> dict[str, tf.Tensor]:
        """What the signature answers to the contents of files."""
        answer: dict[str, tf.Tensor] = self._answer(tf.constant(contents, tf.string))
        return answer

    def _check_itself(self) -> None:
        """Ask about a sound image, so that a broken model is not taken for a broken file.

        Raises:
            ModelFault: It refuses that too.
        """
        try:
            self._asked([_grey_png()])
        except tf.errors.InvalidArgumentError as fault:
            raise damaged(self._folder, f"it refuses every image ({first_line(fault)})") from fault

    @abstractmethod
    def _told(self, paths: Sequence[str], answer: dict[str, np.ndarray]) -> list[Answer]:
        """What the signature said of each file."""


def _read_ahead(
    paths: Sequence[Path | InMemory], batch: int
) -> Iterator[tuple[Sequence[Path | InMemory], list[bytes]]]:
    """Batches of files and their contents; while one is in use, the next is being read."""
    chunks = [paths[start : start + batch] for start in range(0, len(paths), batch)]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(_read, path) for path in chunks[0]] if chunks else []
        for number, chunk in enumerate(chunks):
            ready = waiting
            following = chunks[number + 1] if number + 1 < len(chunks) else []
            waiting = [pool.submit(_read, path) for path in following]
            yield chunk, [one.result() for one in ready]


def _grey_png() -> bytes:
    """The contents of a drawn image."""
    contents: bytes = tf.io.encode_png(tf.fill([32, 32, 3], tf.constant(128, tf.uint8))).numpy()
    return contents


def _name(path: Path | InMemory) -> str:
    return path.path if isinstance(path, InMemory) else path.as_posix()


def _inspect(path: Path | InMemory) -> Inspection:
    if not isinstance(path, InMemory):
        return inspect_file(path)
    contents = path.image if isinstance(path.image, bytes) else as_contents(path.image)
    return inspect_contents(contents, "image.png" if contents.startswith(NATIVE_STARTS) else "")


def _read(path: Path | InMemory) -> bytes:
    try:
        return as_contents(path.image) if isinstance(path, InMemory) else read_contents(path)
    except (OSError, ValueError):
        return b""  # refused by the decoder like any other bytes that are no image


@contextmanager
def in_all_forms(paths: Sequence[Path]) -> Iterator[tuple[list[Path], list[str]]]:
    """Files, and the first of them in the forms that decoders disagree on, which are gone afterwards.

    Args:
        paths: [n] images, n may be 0.

    Yields:
        The files, and what each is called.
    """
    given = [Path(path) for path in paths]
    with TemporaryDirectory() as place:
        forms = write_variants(given[0], Path(place)) if given else {}
        yield [*given, *forms.values()], [*(path.as_posix() for path in given), *forms]


def write_variants(source: Path, folder: Path) -> dict[str, Path]:
    """One image in the forms that decoders disagree on, by name, written into `folder`."""
    pixels = decode_and_resize(tf.constant(read_contents(source)), 96).numpy()
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"), np.uint16)
    transparent = Image.fromarray(np.dstack([pixels, 255 - grey.astype(np.uint8)]))
    turned = Image.Exif()
    turned[0x0112] = 6
    forms: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {
        "JPEG": ("jpeg.jpg", image, {}),
        "grey PNG": ("grey.png", image.convert("L"), {}),
        "16-bit PNG": ("deep.png", Image.fromarray(grey * 256 + 90), {}),
        "RGBA PNG": ("transparent.png", transparent, {}),
        "non-square PNG": ("wide.png", image.resize((150, 70)), {}),
        "EXIF-turned JPEG": ("turned.jpg", image, {"exif": turned}),
        "EXIF-turned PNG": ("turned.png", image, {"exif": turned}),
        "EXIF-turned WebP": ("turned.webp", image, {"exif": turned, "lossless": True}),
    }
    for file, form, options in forms.values():
        form.save(folder / file, **options)
    return {name: folder / file for name, (file, _, _) in forms.items()}
