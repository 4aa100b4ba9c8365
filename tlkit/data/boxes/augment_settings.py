"""What may happen to a training image with boxes, as a value: options become one without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tlkit.errors import UsageFault

FLIPS = ("none", "horizontal", "vertical", "both")
COARSEST = 32  # pixels: the largest stride of a detector's maps, of which its sides are multiples
USUAL = -1
USUAL_CROP = 192  # pixels, of 416; today's recipes say 224, of 576, and those of earlier runs have this one
LEAST_CROP = 128  # pixels: what the coarsest maps still see


@dataclass(frozen=True)
class BoxAugmentation:
    """What may happen to a training image and its boxes.

    Attributes:
        flip: "none", "horizontal", "vertical" or "both".
        turn: Turn by 0, 90, 180 or 270 degrees: for images without an up, such as bags seen from above.
        scale: Least and largest factor of size; 1, 1 leaves it.
        stretch: Largest change of width against height, as a fraction.
        shift: Largest shift beyond what keeps the image in its frame (or the frame in the image), as a
            fraction of the side.
        mosaic: Share of images that are put together from four (Bochkovskiy 2020, section 3.3).
        mixup: Share of images that are blended with another, boxes of both kept (Zhang 2019, bag of freebies).
        gamma: Largest factor, minus 1, of the exponent of all grey levels: T ** k is what matter k times as thick lets
            through (Beer-Lambert), and other machines show the same bag with another k.
        brightness: Largest factor of all grey levels, minus 1.
        contrast: Largest change of contrast, as a fraction.
        crop: Side of the square that is cut out of every training image last, pixels, around an object where there
            is one more often than not; 0 leaves the whole image. Small objects are learned at the size that they
            are found at, for the price of a small image. `USUAL`: what `settled` says.
        usual: The usual crop of images that are larger, pixels.
        least_visible: A box of which less than this share of the area is left in the frame is ignored: it is
            neither an object nor background.
    """

    flip: str = "none"
    turn: bool = False
    scale: tuple[float, float] = (1.0, 1.0)
    stretch: float = 0.0
    shift: float = 0.0
    mosaic: float = 0.0
    mixup: float = 0.0
    gamma: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    crop: int = 0
    least_visible: float = 0.25
    usual: int = USUAL_CROP

    def __post_init__(self) -> None:
        if self.flip not in FLIPS:
            raise UsageFault(f"--flip {self.flip} is unknown.", f"Use one of {', '.join(FLIPS)}.")
        low, high = self.scale
        if not 0 < low <= high:
            raise UsageFault(
                f"A scale from {low:g} to {high:g} cannot be.", "Give 0 < least <= largest, such as 0.7 1.4."
            )
        if self.crop not in (0, USUAL) and (self.crop < LEAST_CROP or self.crop % COARSEST):
            raise UsageFault(
                f"--crop {self.crop} does not suit a detector.",
                f"Take a multiple of {COARSEST} from {LEAST_CROP} on, or 0 for the whole image.",
            )

    def settled(self, size: int) -> BoxAugmentation:
        """The same for images of `size` pixels: the usual crop where they are larger than it, else none."""
        usual = self.usual if size > self.usual else 0
        return replace(self, crop=usual) if self.crop == USUAL else self

    def check(self, size: int) -> None:
        """Refuse what images of a side cannot be changed by.

        Raises:
            UsageFault: The crop is larger than the image.
        """
        if self.crop > size:
            raise UsageFault(
                f"--crop {self.crop} is more than the image's {size} pixels (--image-size).",
                "Take a smaller crop, or 0 for the whole image.",
            )

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        plain = BoxAugmentation(least_visible=self.least_visible, usual=self.usual)
        return self != plain

    @property
    def moves(self) -> bool:
        """Whether pixels change their places by flip, turn, scale, stretch or shift."""
        return self.flip != "none" or self.turn or self.resizes

    @property
    def resizes(self) -> bool:
        """Whether the size or the place of the image in its frame changes."""
        return self.scale != (1.0, 1.0) or self.stretch > 0 or self.shift > 0
