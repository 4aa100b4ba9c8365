"""Claims: float32 engines are not slower than TensorFlow; bfloat16 is 1.7 times as fast where the processor has it.

    python -m tests.benchmarks.engines

Features of 64 images in batches of 32, MobileNet and ResNet50 at 224, in memory; the engines compiled before. The
rival is the same network through a traced tf.function. Without AVX512-BF16 or AMX a processor computes bfloat16 no
faster than float32.
"""

from __future__ import annotations

import numpy as np

from tests.benchmarks.measuring import Comparison, default_weights, in_turn, main, seconds

NETWORKS = ("mobilenet", "resnet50")
TARGETS = {"onnx": 1.0, "openvino": 1.0, "openvino-bf16": 1.7}


def measure(source: str, pairs: int = 5, *, image_size: int = 224, images: int = 64) -> list[Comparison]:
    """One row for each network and engine."""
    from tlkit.tasks.features.engines import EngineFeatures
    from tlkit.tasks.features.extractors import build_extractor

    pixels = np.random.default_rng(0).integers(0, 256, (images, image_size, image_size, 3)).astype(np.uint8)
    rows = []
    for name in NETWORKS:
        weights = default_weights() if name == "mobilenet" else "none"
        network = build_extractor(name, weights=weights, image_size=image_size)[0]
        runs = {"tensorflow": network, **{engine: EngineFeatures(network, engine) for engine in TARGETS}}

        def way(run) -> float:
            return images / seconds(lambda: [run(pixels[i : i + 32]) for i in range(0, images, 32)])

        ways = {engine: lambda run=run: way(run) for engine, run in runs.items()}
        in_turn(ways, 1)
        took = in_turn(ways, pairs)
        rows += [
            Comparison(
                f"{name}, {engine} / tensorflow",
                "images/s",
                took["tensorflow"],
                took[engine],
                target,
                least=True,
            )
            for engine, target in TARGETS.items()
        ]
    return rows


if __name__ == "__main__":
    main(measure, __doc__ or "")
