"""Progress while a built-in set is drawn, and a sample in its place for a dry run."""

from __future__ import annotations

from tlkit.core.console import Console
from tlkit.core.run import Run
from tlkit.data.xray.source_options import BYTES, COUNT, is_bags, read_bags


def draw_first(console: Console, source: str, *, masks: bool = False) -> None:
    """Draw the built-in bags with a bar, if they are meant and the cache has them not; otherwise do nothing.

    Args:
        console: What is said goes there.
        source: As typed.
        masks: The masks of their threats too.

    Raises:
        UsageFault: They are meant with options that they have not.
    """
    if not is_bags(source):
        return
    from tlkit.data.xray.bags import bags_folder, bags_to_draw, masks_folder

    if count := bags_to_draw(source):
        console.say(f"{source} is drawn into the cache, once: {count:,} images, {_cost(count)}.")
        with console.progress("drawing", count) as step:
            bags_folder(source, progress=step)
    if masks and (count := bags_to_draw(source, masks=True)):
        console.say(f"The masks of {source} are drawn into the cache, once: of {count:,} images.")
        with console.progress("drawing masks", count) as step:
            masks_folder(source, progress=step)


def _cost(count: int) -> str:
    """Room and time that so many images take."""
    size = f"{count * BYTES / 1e6:.0f} MB" if count * BYTES < 1e9 else f"{count * BYTES / 1e9:.1f} GB"
    return f"{size}, {'some minutes' if count >= COUNT // 2 else 'a minute or two'}"


def drawn_or_sample(run: Run, source: str, *, masks: bool = False) -> str:
    """The source to read: as typed, drawn first (`masks` too); in a dry run a few of its bags if it is not drawn.

    `run.sampled` says then how many images of the set stand behind each of these. A manifest names all of them, so
    with --split it is drawn.

    Raises:
        UsageFault: As of `draw_first`.
    """
    from tlkit.data.xray.bags import bags_to_draw, write_sample

    lacking = is_bags(source) and (bags_to_draw(source) or (masks and bags_to_draw(source, masks=True)))
    if not run.dry_run or run.split.manifest or not lacking:
        draw_first(run.console, source, masks=masks)
        return source
    folder = run.folder.folder("sample")
    run.sampled = write_sample(folder, read_bags(source), masks=masks)
    count = read_bags(source).count
    said = (f"{source} is", "it") if bags_to_draw(source) else (f"The masks of {source} are", "them")
    run.say(
        f"{said[0]} not drawn yet, and a dry run does not draw {said[1]}: it looks at {round(count / run.sampled)} "
        f"of its {count:,} images. The run will draw them first, once ({_cost(count)})."
    )
    return str(folder)
