"""Asks a SavedModel about bytes that nobody would send, in a process that may die of it; prints what came of each.

python -m tests.fuzzing FOLDER COUNT [SEED]
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.images.decoding.bombs import corpus

MEMORY = 2**30  # bytes of address space beyond what TensorFlow has taken: no decompression bomb fits


def draw_images() -> list[bytes]:
    """One image in every form that is decoded, with what decoders trip over: palettes, 16 bits, frames, EXIF."""
    noise = np.random.default_rng(0).integers(0, 256, (23, 31, 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    turned = Image.Exif()
    turned[0x0112] = 6
    forms = [
        (image, "PNG", {}),
        (image.convert("L"), "PNG", {}),
        (image.convert("P"), "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (image, "JPEG", {"exif": turned}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("L").resize((200, 160)), "JPEG", {}),
        (image, "BMP", {}),
        (image.convert("P"), "BMP", {}),
        (image, "GIF", {"save_all": True, "append_images": [image.rotate(90)]}),
        (image, "WEBP", {}),
        (image, "WEBP", {"lossless": True}),
    ]
    found = []
    for one, form, options in forms:
        stream = io.BytesIO()
        one.save(stream, form, **options)
        found.append(stream.getvalue())
    return found


def huge(width: int = 100_000, height: int = 100_000) -> list[bytes]:
    """Headers that promise ten thousand million pixels, or as many as the form can say."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    pixels = zlib.compress(bytes(5000))
    data = struct.pack(">I", len(pixels)) + b"IDAT" + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels))
    jpeg = bytearray(draw_images()[6])
    frame = jpeg.find(b"\xff\xc2") + 5
    jpeg[frame : frame + 4] = b"\xff\xff\xff\xff"
    gif = bytearray(draw_images()[11])
    gif[6:10] = b"\xff\xff\xff\xff"
    frame = gif.find(b"\x2c", 13 + 768)
    wide = bytearray(gif)
    wide[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    bmp = bytearray(draw_images()[9])
    bmp[18:26] = struct.pack("<ii", width, height)
    upside = bytearray(draw_images()[9])
    upside[18:26] = struct.pack("<ii", 2**31 - 1, -(2**31))
    png = b"\x89PNG\r\n\x1a\n"
    found = [png + chunk + data, png + chunk, bytes(jpeg), bytes(gif), bytes(wide), bytes(bmp), bytes(upside)]
    return found + [contents for _, contents in corpus()]


def strings(count: int, seed: int = 0) -> list[bytes]:
    """Random, cut off, mutated and spliced contents, the huge headers first."""
    chance, sound, found = random.Random(seed), draw_images(), huge()
    while len(found) < count:
        one = bytearray(chance.choice(sound))
        how = chance.randrange(6)
        if how == 0:
            one = bytearray(
                chance.choice(sound)[: chance.choice((2, 4, 8, 16, 32))]
                + chance.randbytes(chance.randrange(300))
            )
        elif how == 1:
            del one[chance.randrange(len(one)) :]
        elif how == 2:
            for _ in range(chance.randrange(1, 9)):  # anywhere
                one[chance.randrange(len(one))] = chance.randrange(256)
        elif how == 3:
            for _ in range(chance.randrange(1, 5)):  # where headers are
                one[chance.randrange(min(64, len(one)))] = chance.choice(
                    (0, 1, 127, 128, 255, chance.randrange(256))
                )
        elif how == 4:
            other = chance.choice(sound)
            one = one[: chance.randrange(len(one))] + other[chance.randrange(len(other)) :]
        else:
            at = chance.randrange(len(one))
            one[at:at] = chance.randbytes(chance.randrange(1, 20))
        found.append(bytes(one))
    return found[:count]


def main() -> None:
    """Print {"answered", "refused", "others", "same"}."""
    folder, count, seed = sys.argv[1], int(sys.argv[2]), int((*sys.argv, 0)[3])
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    sound = tf.constant([draw_images()[0]])
    before = {
        name: _plain(answer(sound))
        for name, answer in model.signatures.items()
        if name in ("serving_default", "instances")
    }
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    outcomes: Counter[str] = Counter()
    for contents in strings(count, seed):
        for name in before:
            try:
                answer = model.signatures[name](tf.constant([contents]))
                outcomes["answered" if _is_sound(answer) else "unsound"] += 1
            except tf.errors.InvalidArgumentError:
                outcomes["refused"] += 1
            except tf.errors.OpError as fault:
                outcomes[type(fault).__name__] += 1
                print(type(fault).__name__, str(fault)[:300], contents[:40], file=sys.stderr)
    after = {name: _plain(model.signatures[name](sound)) for name in before}
    print(json.dumps({**outcomes, "same": before == after}))


def _plain(answer: dict) -> dict:
    return {name: value.numpy().tolist().__repr__() for name, value in answer.items()}


def _is_sound(answer: dict) -> bool:
    """One row for the one image, and numbers that are numbers."""
    numbers = [value.numpy() for value in answer.values() if value.dtype.is_floating]
    rows = all(len(value) == 1 for name, value in answer.items() if name != "classes")
    return rows and all(np.isfinite(value).all() for value in numbers)


if __name__ == "__main__":
    main()
