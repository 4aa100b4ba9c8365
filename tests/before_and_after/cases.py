"""Cases of the comparison: which commands each side runs, and the exit code that each must have."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """A command of a case.

    Attributes:
        words: After `tlkit`; `python` first: a program of this module.
        code: The exit code that it must have.
        stop: SIGTERM comes before the nth file whose path ends like this is opened or renamed.
    """

    words: tuple[object, ...]
    code: int = 0
    stop: tuple[str, int] | None = None


def step(*words: object, code: int = 0, stop: tuple[str, int] | None = None) -> Step:
    return Step(words, code, stop)


# --- the cases: each has a folder of its own, sources lie in ../sources ---

S = "../sources"
NETWORK = ("--backbone", "mobilenet-0.25", "--weights", "none", "--image-size", 32)
SMALL = ("--image-size", 64, "--batch", 4, "--backbone", "mobilenet-v2-0.35", "--weights", "none")
GAN = ("--size", 32, "--steps", 6, "--every", 2, "--batch", 8, "--width", 8, "--latent", 8, "--samples", 9,
       "--metric-extractor", "pixels")  # fmt: skip
TIP = ("--paste", f"{S}/threats", "--paste-share", 1, "--min-side", 0.2, "--max-side", 0.4)
VERBS = ("check", "run", "recipes", "copy", "resume", "repeat", "replay", "runs", "predict", "evaluate", "compare",
         "export", "convert", "cache")  # fmt: skip
RECIPES = ("compare-backbones", "compare-detectors", "composite-crops", "composite-threats",
           "detect-fast-rcnn", "detect-faster-rcnn",
           "detect-mask-rcnn", "detect-rcnn", "detect-retinanet", "detect-yolov1", "detect-yolov2", "detect-yolov3", "detect-yolov8",
           "does-it-help", "does-tip-help", "extract-features", "fine-tune", "fit-head", "generate",
           "look-inside", "slide-window", "small-cnn", "synthesize-dcgan", "synthesize-stylegan")  # fmt: skip
FAULTY = {
    "files": 3,
    "labels": 3,
    "parts": 3,
    "loose": 3,
    "mixed": 3,
    "single": 3,
    "tiny": 3,
    "table.csv": 0,
    "columns.csv": 3,
    "many.csv": 3,
}  # by name: the exit code of check
BOXED = ("boxes-csv", "boxes-coco", "boxes-voc", "boxes-yolo")
SERVED = step("python", "served")

CASES: dict[str, tuple[Step, ...]] = {
    "help": (
        step("--help"),
        *(step(verb, "--help") for verb in VERBS),
        *(step("run", recipe, "--help") for recipe in RECIPES),
        step("recipes", "--json"),
    ),
    "check": (
        step("check", f"{S}/photos", "--json"),
        *(step("check", f"{S}/faulty/{name}", "--json", code=code) for name, code in FAULTY.items()),
        step("check", f"{S}/faulty/files", "--fix-list", "look.csv", code=3),
        *(step("check", f"{S}/{name}", "--json", code=3) for name in BOXED),
        step("check", f"{S}/boxes-broken", "--json", code=3),
        step("check", f"{S}/scenes", "--json"),
    ),
    "refusals": (
        step("run", "small-cnn", f"{S}/faulty/files", "--json", code=3),
        step("run", "small-cnn", f"{S}/faulty/files", "--skip-bad", "--dry-run"),
        step("run", "small-cnn", f"{S}/faulty/parts", "--json", code=3),
        step("run", "small-cnn", f"{S}/faulty/loose", "--json", code=3),
        step("run", "small-cnn", f"{S}/faulty/single", "--json", code=3),
        step("run", "small-cnn", f"{S}/faulty/tiny", "--small-classes", "leave-out", "--dry-run", "--json"),
        step("run", "small-cnn", f"{S}/faulty/tiny", "--small-classes", "fold", "--dry-run", "--json"),
        step("run", "small-cnn", f"{S}/faulty/table.csv", "--dry-run", "--json"),
        step("run", "small-cnn", f"{S}/faulty/columns.csv", "--dry-run", "--json", code=3),
        step("run", "small-cnn", f"{S}/nowhere", "--json", code=3),
        step("run", "fine-tune", f"{S}/photos", "--epochs", 0, 0, 0, "--json", code=2),
        step("run", "fine-tune", f"{S}/photos", "--backbone", "mobilnet", "--json", code=2),
        *(step("run", "detect-yolov8", f"{S}/{name}", *SMALL, "--dry-run", "--json", code=3) for name in BOXED),
        step("run", "detect-yolov8", f"{S}/boxes-csv", *SMALL, "--faults", "clip", "--unlabelled", "negative",
             "--dry-run", "--json"),
        step("predict", "nothing", f"{S}/new", "--json", code=2),
        step("compare", "nothing", "--json", code=2),
    ),
    "convert": (
        *(step("convert", f"{S}/scenes", f"as-{to}", "--to", to, "--json") for to in ("coco", "voc", "yolo", "csv", "crops")),
        *(step("check", f"as-{to}", "--json") for to in ("coco", "voc", "yolo", "csv")),
        *(
            step("convert", f"{S}/{name}", f"{name}-mended", "--to", "csv", "--faults", "clip", "--unlabelled",
                 "negative")
            for name in BOXED
        ),
    ),
    "small-cnn": (
        step("run", "small-cnn", f"{S}/photos", "--epochs", 4, "--augment", "--batch", 12, "--name", "a"),
        step("run", "small-cnn", f"{S}/photos", "--epochs", 4, "--augment", "--batch", 12, "--name", "b", "--json",
             code=143, stop=("/last.npz", 3)),
        step("resume", "b", "--json"),
        step("repeat", "a", "--discard", "--json"),
        step("predict", "a", f"{S}/new", "--json"),
        step("predict", "a", f"{S}/new", "--csv"),
        step("evaluate", "a", f"{S}/photos", "--json"),
        step("evaluate", "a", f"{S}/new", "--json"),
        step("evaluate", "a", f"{S}/new"),
        step("check", f"{S}/photos", "--run", "a", "--json"),
        step("compare", "a", "b", "--json"),
        step("compare", "a", "b", "--markdown"),
        step("runs"),
        step("export", "a", "--format", "onnx", "--json"),
        SERVED,
    ),
    "fine-tune": (
        step("run", "fine-tune", f"{S}/groups", "--group", r"(p\d+)", *NETWORK, "--epochs", 2, 1, 1, "--batch", 8,
             "--refit", "--name", "a"),
        step("run", "fine-tune", f"{S}/groups", "--group", r"(p\d+)", *NETWORK, "--dry-run", "--json"),
        step("predict", "a", f"{S}/new", "--json"),
        step("evaluate", "a", f"{S}/groups", "--json"),
        step("evaluate", "a", f"{S}/new", "--json"),
        step("export", "a", "--format", "onnx", "--with-resize", "--json"),
        step("runs", "--json"),
        SERVED,
    ),
    "features": (
        step("run", "extract-features", f"{S}/photos", *NETWORK, "--name", "f", "--json"),
        step("run", "extract-features", f"{S}/photos", "--backbone", "lbp", "--name", "h", "--json"),
        step("run", "fit-head", f"{S}/photos", *NETWORK, "--heads", "knn3,lda", "--folds", 3, "--name", "k", "--json"),
        step("predict", "k", f"{S}/new", "--json"),
        step("evaluate", "k", f"{S}/new", "--json"),
        SERVED,
    ),
    "compare-backbones": (
        step("run", "compare-backbones", f"{S}/photos", "--backbones", "pixels,lbp", "--heads", "knn1,logistic",
             "--folds", 3, "--leaky", "--name", "c"),
        step("compare", "c", "--json"),
    ),
    "look-inside": (
        step("run", "look-inside", f"{S}/photos/disc/00.png", "--backbone", "mobilenet-0.25", "--weights", "none",
             "--image-size", 32, "--layer", "conv1_relu", "--name", "l", "--json"),
    ),
    "dcgan": (
        step("run", "synthesize-dcgan", f"{S}/photos", "--class", "disc", *GAN, "--ada", "--name", "g"),
        step("run", "synthesize-dcgan", f"{S}/photos", "--class", "disc", *GAN, "--ada", "--name", "h", "--json",
             code=143, stop=("/last.npz", 3)),
        step("resume", "h", "--json"),
        step("run", "generate", "g", "--samples", 5, "--seed", 5, "--name", "more", "--json"),
        step("run", "small-cnn", f"{S}/photos", "--synthetic", "g", "--epochs", 1, "--name", "with", "--json"),
        step("compare", "g", "with", "--json"),
        step("runs", "--json"),
        SERVED,
    ),
    "stylegan": (
        step("run", "synthesize-stylegan", f"{S}/photos", "--class", "disc", "--class", "bar", "--conditional", *GAN,
             "--name", "g"),
        step("run", "generate", "g", "--samples", 3, "--seed", 5, "--truncation", 0.5, "--name", "more", "--json"),
        SERVED,
    ),
    "composite-crops": (
        step("run", "composite-crops", f"{S}/threats", "--copies", 2, "--size", 64, "--validation", "--name", "c"),
        step("run", "compare-backbones", f"{S}/threats", "--backbones", "pixels", "--heads", "knn1", "--synthetic", "c",
             "--select", "validation", "--name", "t", "--json"),
    ),
    "composite-threats": (
        step("run", "composite-threats", f"{S}/threats", f"{S}/bags", "--copies", 2, "--empty", 0.25, "--min-side",
             0.15, "--max-side", 0.3, "--class", "gun", "--name", "t"),
        step("run", "detect-yolov8", f"{S}/bags", *SMALL, "--split", "saved_models/t/1/bag_split.csv", "--synthetic", "t", "--dry-run",
             "--json"),
    ),
    "does-it-help": (
        step("run", "does-it-help", f"{S}/threats", "--class", "gun", "--backbone", "pixels", "--image-size", 16,
             "--numbers", "4,8", "--arms", "flips,composites", "--repeats", 2, "--name", "d"),
    ),
    "slide-window": (
        step("run", "small-cnn", f"{S}/crops", "--epochs", 3, "--batch", 8, "--name", "crops", "--json"),
        step("run", "slide-window", f"{S}/scenes", "--classifier", "crops", "--size", 96, "--scales", 1, "--ratio", 1,
             "--step", 0.2, "--name", "s"),
        step("predict", "s", f"{S}/scenes/00.png", f"{S}/scenes/01.png", "--threshold", 0.01, "--draw", "drawn",
             "--json"),
        step("evaluate", "s", f"{S}/scenes", "--json"),
        SERVED,
    ),
    "yolov8": (
        step("run", "detect-yolov8", f"{S}/bags", *SMALL, *TIP, "--epochs", 0, 2, "--evaluate-every", 2, "--name", "y"),
        step("run", "detect-yolov8", f"{S}/bags", *SMALL, *TIP, "--epochs", 0, 2, "--evaluate-every", 2, "--name", "z",
             "--json", code=143, stop=("/last.npz", 2)),
        step("resume", "z", "--json"),
        step("predict", "y", f"{S}/bags/00.png", "--threshold", 0.0, "--draw", "drawn", "--json"),
        step("evaluate", "y", f"{S}/bags", "--json"),
        step("compare", "y", "z", "--draw", "both.png", "--json"),
        step("run", "compare-detectors", f"{S}/bags", "--detectors", "none", "--add", "y", "--add", "z", "--name", "d"),
        SERVED,
    ),
    "yolov1": (
        step("run", "detect-yolov1", f"{S}/bags", *SMALL, "--cells", 4, "--epochs", 1, 1, "--name", "c"),
        step("predict", "c", f"{S}/bags/00.png", "--threshold", 0.0, "--json"),
        SERVED,
    ),
    **{
        kind: (
            step("run", f"detect-{kind}", f"{S}/bags", *SMALL, "--epochs", 1, 1, "--name", "c"),
            step("predict", "c", f"{S}/bags/00.png", "--threshold", 0.0, "--json"),
            SERVED,
        )
        for kind in ("yolov2", "yolov3", "fast-rcnn", "faster-rcnn")
    },
    "rcnn": (
        step("run", "detect-rcnn", f"{S}/bags", *NETWORK, "--crop-side", 32, "--training-images", 8,
             "--regions", 20, "--name", "c"),
        step("predict", "c", f"{S}/bags/00.png", "--threshold", 0.0, "--json"),
        SERVED,
    ),
    "mask-rcnn": (
        step("run", "detect-mask-rcnn", "xray:bags:seed=5,count=40", *SMALL, "--epochs", 1, 1, "--name", "c"),
        step("predict", "c", f"{S}/bags/00.png", "--threshold", 0.0, "--draw", "drawn", "--json"),
        step("evaluate", "c", "xray:bags:seed=6,count=8", "--json"),
        SERVED,
    ),
    "retinanet": (
        step("run", "detect-retinanet", f"{S}/scenes", *SMALL, "--epochs", 1, 1, "--propose-anchors", "--mosaic", 0.5,
             "--mixup", 0.2, "--name", "r"),
        step("predict", "r", f"{S}/scenes/00.png", "--threshold", 0.0, "--csv"),
        step("evaluate", "r", f"{S}/scenes", "--json"),
        step("export", "r", "--format", "onnx", "--nms", "--json"),
        SERVED,
    ),
    "does-tip-help": (
        step("run", "does-tip-help", f"{S}/bags", "--threats", f"{S}/threats", "--numbers", "0,2", "--arms", "tip",
             "--repeats", 1, "--composites", 4, "--epochs", 0, 1, *SMALL, "--name", "d"),
    ),
    "nan": (
        step("run", "small-cnn", f"{S}/photos", "--epochs", 2, "--learning-rate", 1e30, "--clip-norm", 0, "--name", "n",
             "--json", code=1),
        step("replay", "n", "--json"),
        step("runs", "--json"),
    ),
}  # fmt: skip
