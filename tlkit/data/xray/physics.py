"""X-ray physics as small pure functions: path lengths in millimetres become grey levels.

A ray loses the fraction exp(-mu t) of its photons in t millimetres of a material (Beer-Lambert), so
the transmittances of things that lie behind one another multiply: simulated bags are put together,
and threats are later pasted into real bags, by that product. The tube is polychromatic; two energies
are enough to show beam hardening (thick metal is less dark than one energy would make it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Linear attenuation in 1/mm at 30 keV and at 60 keV: mass attenuation (cm2/g) x density (g/cm3) / 10.
#: Source: Hubbell and Seltzer, NIST Standard Reference Database 126 (tables 3 and 4).
ATTENUATION: dict[str, tuple[float, float]] = {
    "steel": (8.176 * 0.7874, 1.205 * 0.7874),
    "copper": (10.92 * 0.896, 1.593 * 0.896),
    "lead": (30.32 * 1.135, 5.021 * 1.135),
    "aluminium": (1.128 * 0.2699, 0.2778 * 0.2699),
    "polymer": (0.3032 * 0.119, 0.1924 * 0.119),  # polymethyl methacrylate
    "water": (0.3756 * 0.1, 0.2059 * 0.1),
    "cloth": (0.2706 * 0.04, 0.1970 * 0.04),  # polyethylene at the density of packed cloth
}


@dataclass(frozen=True)
class Detector:
    """How a beam that has passed the objects becomes grey levels.

    Attributes:
        spectrum: Shares of the signal at 30 keV and 60 keV where nothing lies in the beam; sum 1.
        gain: Grey level of the empty beam, 0..255.
        scatter: Share of the image's mean brightness nearby that is added as a veil.
        scatter_width: Standard deviation of the veil's blur, as a share of the longer side.
        blur: Standard deviation of the detector's blur in pixels (focal spot, scintillator).
        photons: Mean count of photons in an unattenuated pixel; fewer means more noise.
        read_noise: Standard deviation of the electronic noise in grey levels.
    """

    spectrum: tuple[float, float] = (0.5, 0.5)
    gain: float = 228.0
    scatter: float = 0.03
    scatter_width: float = 0.15
    blur: float = 0.6
    photons: float = 20000.0
    read_noise: float = 0.7


def draw_detector(
    rng: np.random.Generator,
    gain: tuple[tuple[float, float], tuple[float, float]],
    blur: tuple[tuple[float, float], tuple[float, float]],
    brighter: float = 0.0,
) -> Detector:
    """A machine: most are sharp and quiet; one in eight is dim, blurred and noisy.

    Args:
        rng: Source of the choices.
        gain: Least and largest gain of a poor machine, and of a good one.
        blur: Likewise.
        brighter: Added to a good machine's gain.
    """
    poor, low = rng.random() < 1 / 8, rng.uniform(0.38, 0.72)
    return Detector(
        spectrum=(low, 1 - low),
        gain=rng.uniform(*gain[0]) if poor else rng.uniform(*gain[1]) + brighter,
        scatter=rng.uniform(0.02, 0.06),
        blur=rng.uniform(*blur[0] if poor else blur[1]),
        photons=float(np.exp(rng.uniform(7, 8.5) if poor else rng.uniform(8.8, 11))),
        read_noise=rng.uniform(0.8, 2.5) if poor else rng.uniform(0.2, 0.8),
    )


def transmittance(thicknesses: Mapping[str, np.ndarray], coefficients: Mapping[str, float]) -> np.ndarray:
    """Beer-Lambert: the fraction of photons of one energy that passes all materials.

    Args:
        thicknesses: Path length per material, float `[h, w]`, mm.
        coefficients: Linear attenuation per material, 1/mm.

    Returns:
        Fractions `[h, w]` in (0, 1] for thicknesses >= 0; the product over the materials.

    Raises:
        ValueError: No material is given.
    """
    if not thicknesses:
        raise ValueError("transmittance needs the thickness of at least one material")
    depth = sum(coefficients[name] * thickness for name, thickness in thicknesses.items())
    return np.exp(-np.asarray(depth))


def polychromatic_transmittance(
    thicknesses: Mapping[str, np.ndarray], spectrum: tuple[float, float] = Detector.spectrum
) -> np.ndarray:
    """The detected share of a beam with photons of 30 keV and of 60 keV.

    Args:
        thicknesses: Path length per material of `ATTENUATION`, float `[h, w]`, mm.
        spectrum: Shares of the two energies in the empty beam; sum 1.

    Returns:
        Fractions `[h, w]` in (0, 1]. Products hold for each energy, not for this sum.
    """
    low, high = (
        transmittance(thicknesses, {name: both[energy] for name, both in ATTENUATION.items()})
        for energy in (0, 1)
    )
    return spectrum[0] * low + spectrum[1] * high


def add_scatter(signal: np.ndarray, share: float, width: float) -> np.ndarray:
    """Add the veil of photons that were deflected on their way.

    Args:
        signal: Transmitted fractions `[h, w]`.
        share: Share of the blurred image that is added, 0..1.
        width: Standard deviation of the blur, as a share of the longer side.

    Returns:
        Fractions `[h, w]`, scaled so that an empty beam stays at 1.
    """
    step = max(1, round(max(signal.shape) * width / 4))  # the veil is smooth: blur a small copy
    veil = ndimage.gaussian_filter(signal[::step, ::step], max(signal.shape) * width / step, mode="nearest")
    zoom = [size / small for size, small in zip(signal.shape, veil.shape)]
    veil = ndimage.zoom(veil, zoom, order=1, mode="nearest", grid_mode=True)
    return (signal + share * veil) / (1 + share)


def expose(signal: np.ndarray, detector: Detector, rng: np.random.Generator) -> np.ndarray:
    """Transmitted fractions become grey levels: scatter, blur, photon noise, read noise, gain.

    Args:
        signal: Transmitted fractions `[h, w]`; 1 is the empty beam.
        detector: What the image is taken with.
        rng: Source of the noise.

    Returns:
        uint8 `[h, w]`; bright where the beam is free.
    """
    return np.clip(np.rint(exposed(signal, detector, rng)), 0, 255).astype(np.uint8)


def exposed(signal: np.ndarray, detector: Detector, rng: np.random.Generator) -> np.ndarray:
    """The grey levels of `expose` before they are rounded and cut: float `[h, w]`, 0..255 and a little beyond."""
    veiled = add_scatter(signal, detector.scatter, detector.scatter_width)
    blurred = ndimage.gaussian_filter(veiled, detector.blur, mode="nearest")
    counted = rng.poisson(np.maximum(blurred, 0) * detector.photons) / detector.photons
    return detector.gain * counted + rng.normal(0, detector.read_noise, signal.shape)
