"""Progress while a built-in set is drawn, and a sample in its place for a dry run."""

from __future__ import annotations

from tlkit.core.console import Console
from tlkit.core.run import Run

BAGS = "xray:bags"


def draw_first(console: Console, source: str) -> None:
    """Draw the built-in bags with a bar, if they are meant and the cache has them not; otherwise do nothing."""
    if source != BAGS:
        return
    from tlkit.data.xray.bags import bags_folder, bags_to_draw

    if count := bags_to_draw():
        console.say(f"{BAGS} is drawn into the cache, once: {count:,} images, 231 MB, some minutes.")
        with console.progress("drawing", count) as step:
            bags_folder(progress=step)


def drawn_or_sample(run: Run, source: str) -> str:
    """The source to read: as typed, drawn first; in a dry run a few of its bags if it is not drawn.

    `run.sampled` says then how many images of the set stand behind each of these. A manifest names all of them, so
    with --split it is drawn.
    """
    from tlkit.data.xray.bags import bags_to_draw, write_sample

    if source != BAGS or not run.dry_run or run.split.manifest or not bags_to_draw():
        draw_first(run.console, source)
        return source
    folder = run.folder.folder("sample")
    run.sampled = write_sample(folder)
    count = bags_to_draw()
    run.say(
        f"{BAGS} is not drawn yet, and a dry run does not draw it: it looks at {count // run.sampled} of its {count:,} "
        "images. The run will draw them first, once (231 MB, some minutes)."
    )
    return str(folder)
