"""`tfds:NAME`: a prepared set becomes files and is read like any other source."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw
from tlkit.data.images.sources import read_images
from tlkit.errors import DataFault


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A set of two splits, written by tensorflow-datasets itself into a folder of its own."""
    tfds = pytest.importorskip("tensorflow_datasets")
    tmp_path = tmp_path_factory.mktemp("tfds")

    class Shapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            names = tfds.features.ClassLabel(names=["bar", "disc"])
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": names})
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 4), "test": self._generate_examples(4, 6)}

        def _generate_examples(self, first, last):
            for label in (0, 1):
                for number in range(first, last):
                    yield f"{label}-{number}", {"image": np.asarray(draw(label, number)), "label": label}

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        patch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
        Shapes(data_dir=tmp_path / "data").download_and_prepare()
        yield tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorflow-datasets' own
def test_a_prepared_set_is_read_with_its_classes_parts_and_pixels(prepared):
    images = read_images("tfds:shapes")
    assert images.class_names == ("bar", "disc")
    assert images.parts.count("training") == 8
    assert images.parts.count("test") == 4
    with Image.open(images.file(0)) as image:
        written = np.asarray(image)
    label = int(images.labels[0])
    originals = [np.asarray(draw(label, number)) for number in range(6)]
    assert any((written == original).all() for original in originals)
    assert read_images("tfds:shapes:1.0.0").labels.tolist() == images.labels.tolist()


def test_another_version_is_not_prepared(prepared):
    with pytest.raises(DataFault, match="tfds:shapes:2.0.0 is not prepared"):
        read_images("tfds:shapes:2.0.0")
