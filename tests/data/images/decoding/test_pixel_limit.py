"""The limit in pixels: every reader asks it before it decodes, and the graph reads the same sizes as Python does."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path

import click
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.images.decoding import bombs
from tests.fuzzing import draw_images
from tlkit.cli.options.shared import hold_limit
from tlkit.data.boxes import batches as box_batches
from tlkit.data.boxes.formats.stated_sizes import image_sizes
from tlkit.data.checks.files import look_at
from tlkit.data.images import batches as images
from tlkit.data.images.decoding.declared_sizes import jpeg_within_limit, other_size
from tlkit.data.images.decoding.decode import decode_and_resize, native, read_contents, read_file
from tlkit.data.images.decoding.depth import read_image
from tlkit.data.images.decoding.headers import first_numbers
from tlkit.data.images.decoding.opening import open_image
from tlkit.data.images.decoding.pixel_limit import (
    MOST_PIXELS,
    TooManyPixels,
    declared_size,
    most_pixels,
    pixel_limit,
)
from tlkit.data.images.inspection import inspect_file
from tlkit.errors import DataFault, UsageFault

ROOT = Path(__file__).resolve().parents[4]
CORPUS = dict(bombs.corpus())
SCALAR = [tf.TensorSpec([], tf.string)]
size_graph = tf.function(lambda some: other_size(some, first_numbers(some, 34)), SCALAR, autograph=False)
pixels_graph = tf.function(lambda some: decode_and_resize(some, 16), SCALAR, autograph=False)


def declared(contents):
    found = declared_size(io.BytesIO(contents))
    return [0, 0, 0, 0] if found is None else list(found)


@pytest.mark.parametrize("name", CORPUS)
def test_every_reader_refuses_by_the_header(name, tmp_path):
    file = tmp_path / name
    file.write_bytes(CORPUS[name])
    said = "pixels, .*more than the limit of 100,000,000, which --max-pixels raises"
    (found,) = look_at(file, name).findings
    assert found.kind == "decompression-bomb"
    assert found.sentence == f"{name} {inspect_file(file).error}."
    with pytest.raises(DataFault, match=rf"{name} has [\d,]+ .*{said}"):
        read_image(file, 1)
    with pytest.raises(ValueError, match=said):
        read_contents(file)
    (size,) = image_sizes([file])
    assert size == inspect_file(file).error


@pytest.mark.parametrize("name", [name for name in CORPUS if native(Path(name).suffix)])
def test_the_graph_refuses_it_too(name):
    too_wide = "|Invalid JPEG" if name == "progressive.jpg" else ""  # beyond 65,500 libjpeg itself refuses
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"more than the limit of 100000000{too_wide}"):
        pixels_graph(CORPUS[name])


def test_a_pipeline_refuses_what_pillow_would_read(tmp_path):
    (tmp_path / "fax.tif").write_bytes(CORPUS["fax.tif"])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"fax\.tif has 60,000 x 60,000 pixels, more than"
    ):
        tf.function(read_file, SCALAR, autograph=False)(str(tmp_path / "fax.tif"))


def test_a_size_at_the_limit_is_read_and_one_pixel_more_is_not(tmp_path):
    sound = dict(zip("abcdefghijklmn", draw_images(), strict=True))
    with pixel_limit(713):
        graph = tf.function(lambda some: decode_and_resize(some, 16), SCALAR, autograph=False)
        graph.get_concrete_function()
    for name, contents in sound.items():
        _, _, number, pixels = declared(contents)
        assert (pixels, number) in {(713, 1), (1426, 2), (32_000, 1)}
        (tmp_path / name).write_bytes(contents)
        for most in (pixels, pixels - 1):
            with pixel_limit(most):
                assert bool(inspect_file(tmp_path / name).error) == (most < pixels)
        if pixels == 713:
            assert graph(contents).shape == (16, 16, 3)
    assert graph(bombs.png(713, 1)).shape == (16, 16, 3)
    for contents, size in (
        (bombs.png(714, 1), "714 x 1"),
        (sound["i"], "200 x 160"),
        (sound["l"], "31 x 23"),
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"{size} pixels, \d+ in all, more .* of 713"
        ):
            graph(contents)
    assert most_pixels() == MOST_PIXELS


def mutated(count):
    """Headers with bytes changed, inserted and cut, of sound files and of bombs."""
    chance = random.Random(4)
    known = [*draw_images(), *(some for name, some in CORPUS.items() if native(Path(name).suffix))]
    for _ in range(count):
        one = bytearray(chance.choice(known))
        for _ in range(chance.randrange(1, 6)):
            one[chance.randrange(min(len(one), chance.choice((40, 900))))] = chance.choice(
                (0, 1, 0x2C, 0x21, 255, 77)
            )
        if chance.random() < 0.3:
            del one[chance.randrange(1, len(one)) :]
        yield bytes(one)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_python_and_the_graph_read_the_same_sizes(count):
    """Of a JPEG libjpeg is the evaluator: what either finds too large, nobody decodes, and where both answer they agree."""
    limited = tf.function(lambda some: jpeg_within_limit(some, MOST_PIXELS)[1], SCALAR, autograph=False)
    seen, wrong = {"jpeg": 0, "other": 0, "bomb": 0}, 0
    for contents in mutated(count):
        expected = declared(contents)
        if not contents.startswith(b"\xff\xd8\xff"):
            found = size_graph(contents).numpy().tolist()
            assert found == expected or found[3] == expected[3] == 0, contents[:60]
            seen["other"] += expected[3] > 0
            seen["bomb"] += expected[3] > MOST_PIXELS
            continue
        try:
            height, width = limited(contents).numpy().tolist()
        except tf.errors.InvalidArgumentError as fault:
            wrong += "the limit" in str(fault) and expected[3] <= MOST_PIXELS
        else:
            assert expected == [width, height, 1, width * height]
            seen["jpeg"] += 1
    assert not wrong
    assert min(seen.values()) > count / 40


@pytest.mark.parametrize(
    ("lengths", "number"), [((255, 255, 7), 3), ((1, 2) * 300, 2), ((5,) * 700, 4), ((), 5)]
)
def test_images_of_a_gif_are_counted_whatever_their_blocks(lengths, number):
    blocks = b"".join(bytes([length]) + b"\x2c" * length for length in lengths) + b"\0"
    comment = b"\x21\xfe\x03abc\0"
    image = b"\x2c" + bytes(4) + b"\x0a\0\x14\0" + b"\x81" + bytes(12) + b"\x02" + blocks
    contents = b"GIF89a\x0a\0\x14\0\0\0\0" + (comment + image) * number + b";"
    assert declared(contents) == size_graph(contents).numpy().tolist() == [10, 20, number, number * 200]


def test_a_gif_of_endless_tiny_blocks_is_refused_soon():
    contents = b"GIF89a\x0a\0\x14\0\0\0\0" + b"\x21\xfe" + b"\x01a\x02bb\x03ccc" * 10_000
    assert declared(contents)[3] == size_graph(contents).numpy()[3] > MOST_PIXELS


def test_pillows_own_limit_stays_as_it_is_and_says_nothing(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    assert before == 89_478_485
    for name, contents in (("a.tif", bombs.tiff(9_700, 9_700)), ("b.png", bombs.png(9_700, 9_700))):
        (tmp_path / name).write_bytes(contents)
        with open_image(tmp_path / name) as image:  # a warning would be an error here
            assert image.size == (9_700, 9_700)
    (tmp_path / "c.tif").write_bytes(bombs.tiff(20_000, 20_000))
    with pytest.raises(TooManyPixels, match="has 20,000 x 20,000 pixels, more than the limit of 100,000,000"):
        open_image(tmp_path / "c.tif")
    with pixel_limit(400_000_000), open_image(tmp_path / "c.tif") as image:
        assert image.size == (20_000, 20_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_bomb_costs_no_memory(tmp_path):
    """A sound PNG of 400 million pixels in 400 kB, in a process of its own, by what it took at most."""
    (tmp_path / "whole.png").write_bytes(bombs.png(20_000, 20_000, 8, 0, whole=True))
    code = """if True:
        import json, resource, sys
        from pathlib import Path
        from tlkit.data.boxes.formats.stated_sizes import image_sizes
        from tlkit.data.images.decoding.depth import read_image
        from tlkit.data.checks.files import look_at
        from tlkit.data.images.inspection import inspect_file
        from tlkit.errors import DataFault
        file = Path(sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = [inspect_file(file).error, image_sizes([file])[0], look_at(file, file.name).findings[0].kind]
        try:
            read_image(file, 1)
        except DataFault as fault:
            said.append(fault.problem)
        print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, said]))
    """
    command = [sys.executable, "-c", code, str(tmp_path / "whole.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kib, said = json.loads(done.stdout)
    assert kib < 20_000  # the pixels are 400 MB
    assert [text.count("20,000 x 20,000 pixels") for text in said] == [1, 1, 0, 1]


def test_a_command_holds_the_limit_of_the_run_it_asks():
    with click.Context(click.Command("predict")):
        hold_limit(Path("run"), {"most_pixels": 500}, None)
        assert most_pixels() == 500
        hold_limit(Path("run"), {"most_pixels": 500}, 400)
        assert most_pixels() == 400
        hold_limit(Path("old"), {}, None)  # its graph has no limit, so the command's is all there is
        assert most_pixels() == MOST_PIXELS
        hold_limit(Path("old"), {}, 2 * MOST_PIXELS)
        assert most_pixels() == 2 * MOST_PIXELS
        with pytest.raises(
            UsageFault, match="--max-pixels 501 is above 500, the most that the model of run reads"
        ):
            hold_limit(Path("run"), {"most_pixels": 500}, 501)
    assert most_pixels() == MOST_PIXELS


@pytest.mark.parametrize("decode", [decode_and_resize, box_batches._letterboxed_pixels])
def test_a_graph_is_traced_anew_under_another_limit(decode):
    usual = images.file_reader(decode, 8, autograph=False)
    assert images.file_reader(decode, 8, autograph=False) is usual
    with pixel_limit(399):
        assert images.file_reader(decode, 8, autograph=False) is not usual
