"""Did you mean: what a person may have wanted who typed an option that is not there, or too few values for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click

# What users of other tools type -> our options, the first that the command has; or, in a sentence, what does it here.
OTHERS = {
    "lr lr0 lrs rate rates learning-rate learning-rates": ("learning-rates", "learning-rate"),
    "model net network arch architecture encoder": ("backbone", "backbones", "detector"),
    "bs b batch-size batchsize train-batch-size": ("batch",),
    "imgsz img-size img image-size input-size resolution res sz": ("image-size", "size"),
    "epoch epochs n-epochs num-epochs max-epochs num-train-epochs e": ("epochs", "steps"),
    "iterations iters max-steps max-iter kimg": ("steps", "epochs"),
    "cuda cpu gpus accelerator": ("device",),
    "output out outdir output-dir out-dir save-dir project logdir log-dir": ("runs", "output"),
    "run-name experiment exp tag": ("name",),
    "pretrained ckpt checkpoint load init": ("warm-start", "weights"),
    "conf confidence score score-threshold min-score": ("threshold",),
    "iou nms nms-threshold iou-threshold": ("overlap",),
    "max-det topk top-k": ("max-detections",),
    "fp16 amp half bf16 mixed-precision dtype": ("precision",),
    "early-stopping early-stop": ("patience",),
    "random-seed random-state manual-seed": ("seed",),
    "wd l2": ("weight-decay",),
    "classes class-name labels": ("class",),
    "aug augmentations data-augmentation": ("augment", "augmentation", "flip"),
    "scheduler lr-scheduler": ("schedule",),
    "grad-clip clip gradient-clip": ("clip-norm",),
    "num-samples n-samples n": ("samples", "count"),
    "nz z-dim latent-dim": ("latent",),
    "check validate no-train": ("dry-run",),
    "format fmt": ("format", "to"),
}
SENTENCES = {
    "data dataset data-dir source input train-dir": "What it names stands without an option: {usage}.",
    "gpu": "Use --device gpu.",
    "workers num-workers threads jobs j": "Files are read on all processors as it is.",
    "resume continue": "tlkit resume RUN goes on with an unfinished run.",
    "optimizer optim momentum": "Adam is used, or AdamW with --weight-decay.",
    "val-split test-split validation-split val-ratio": "--split FILE fixes the parts; --hold-out names the test part.",
}


def describe_missing(error: click.NoSuchOption, ctx: click.Context, args: Sequence[str]) -> click.UsageError:
    """The fault with what the person may have meant, which is never --help; `args` is what was typed."""
    word = error.option_name
    if not word.startswith("--"):  # click tells the first letter of -lr only
        word = next((one for one in args if one.startswith(word)), word)
    names = {
        name.lstrip("-")
        for parameter in ctx.command.get_params(ctx)
        if isinstance(parameter, click.Option) and not {*parameter.opts} & {*ctx.help_option_names}
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    typed = word.lstrip("-").lower().replace("_", "-")
    hint = _sentence(typed, ctx, names) or _similar(typed, names)
    return click.UsageError(f"No such option '{word}'. {hint}".rstrip(), ctx)


def _sentence(typed: str, ctx: click.Context, names: set[str]) -> str:
    """What is said of a word of another tool, where this command has something for it."""
    for words, ours in OTHERS.items():
        known = next((name for name in ours if name in names), None)
        if typed in words.split() and known:
            return f"Did you mean --{known}?"
    sentence = next((text for words, text in SENTENCES.items() if typed in words.split()), "")
    arguments = [
        one.make_metavar(ctx) for one in ctx.command.get_params(ctx) if isinstance(one, click.Argument)
    ]
    named = {word.strip(".,")[2:] for word in sentence.split() if word.startswith("--")}
    fits = ("{usage}" not in sentence or arguments) and named <= names
    return sentence.format(usage=" ".join([ctx.command_path, *arguments])) if fits else ""


def _similar(typed: str, names: Iterable[str]) -> str:
    """Options of much the same letters, or with the same word in them; nothing where there is none."""
    near = get_close_matches(typed, sorted(names), 3, 0.7)
    near += [name for name in sorted(names) if typed in name.split("-") and name not in near]
    return f"Did you mean {' or '.join(f'--{name}' for name in near[:3])}?" if near else ""


def check_several(ctx: click.Context, options: Iterable[click.Parameter], args: Sequence[str]) -> None:
    """Refuse an option of several values that has too few, or others than it takes, before it swallows an argument.

    Raises:
        click.UsageError: With the right form.
    """
    several = {name: o for o in options if isinstance(o, click.Option) and o.nargs > 1 for name in o.opts}
    words = list(args[: args.index("--")] if "--" in args else args)
    for place, word in enumerate(words):
        name, equals, first = word.partition("=")
        if option := several.get(name):
            given = ([first] if equals else []) + words[place + 1 :]
            _check_values(ctx, option, name, given[: option.nargs])


def _check_values(ctx: click.Context, option: click.Option, name: str, given: list[str]) -> None:
    good = 0
    for value in given:
        try:
            option.type.convert(value, option, ctx)
        except click.BadParameter:
            break
        good += 1
    if good == option.nargs:
        return
    usual = option.default if isinstance(option.default, tuple) else ()
    defaults = [f"{value:g}" for value in usual]
    form = " ".join([name, *[*given[:good], *defaults[good:]][: option.nargs]])
    places = f" ({option.metavar})" if option.metavar else ""
    here = f"{name} {' '.join(given)}".rstrip()
    such = f", such as {form}" if defaults else ""
    raise click.UsageError(
        f"{name} takes {option.nargs} {_kind(option.type)}{places}{such}; here stands {here}.", ctx
    )


def _kind(kind: click.ParamType) -> str:
    """Such as "whole numbers from 0"."""
    noun = "whole numbers" if isinstance(kind, click.types.IntParamType) else "numbers"
    least = getattr(kind, "min", None)
    if least is None:
        return noun
    return f"{noun} {'above' if getattr(kind, 'min_open', False) else 'from'} {least:g}"
