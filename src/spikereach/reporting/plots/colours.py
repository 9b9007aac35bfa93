"""One colour and one marker per system, the same in every figure.

Hues are those of Okabe and Ito (2008) and of Tol (2021), safe for colour-blind readers; the
large sibling of a system has a darker shade of its hue and another marker. The systems of an
ablation stand around the one they vary; they differ in lightness too.
"""

from __future__ import annotations

from spikereach.identity import text_checksum

TRUE = "#000000"
"""Measured movement, published marks and reference lines."""

GREY = "#8C8C8C"

_COLOURS = {
    "Wiener": "#999999",
    "Kalman": "#5A5A5A",
    "SNN2": "#56B4E9",
    "SNN3": "#1F6F9F",
    "ANN2": "#C9B037",
    "ANN3": "#7A6A16",
    "tinyRSNN": "#009E73",
    "bigRSNN": "#00553E",
    "LIF-t2": "#CC79A7",
    "LIF-t1": "#8A2D63",
    "sGRU-t2": "#B9A3E3",
    "sGRU-t1": "#6F4FB3",
    "GRU-t2": "#E69F00",
    "GRU-t1": "#9A6A00",
    "AEGRU": "#661100",
    "BMnet": "#003A66",
    "RTnet": "#0072B2",
    "sRTnet": "#D55E00",
    "BMnet-M1": "#9CC3E0",
    "BMnet-S1": "#E3C4A8",
    "BMnet-pre": "#4A86B4",
    "BMnet-post": "#85759F",
    "RTnet-float32": "#84BCE0",
    "RTnet-spikes": "#3C5F8A",
    "RTnet-regularised": "#6A5A7C",
    "RTnet-weights": "#9C5B52",
    "sRTnet-pruned": "#A84A00",
    "sRTnet-sparse": "#6B2F00",
}
_LARGE = {"SNN3", "ANN3", "bigRSNN", "LIF-t1", "sGRU-t1", "GRU-t1", "BMnet"}
_BASELINES = {"Wiener", "Kalman"}
_FURTHER = ("#332288", "#44AA99", "#AA4499", "#117733", "#882255", "#DDAA33", "#88CCEE", "#999933")
_FURTHER_MARKERS = ("^", "v", "<", ">", "P", "X", "h", "p")


def colour(system: str) -> str:
    """Hex colour of a system; one without its own gets a fixed further one by its name."""
    return _COLOURS.get(system) or _FURTHER[_number(system) % len(_FURTHER)]


def marker(system: str) -> str:
    """Matplotlib marker of a system."""
    if system not in _COLOURS:
        return _FURTHER_MARKERS[_number(system) // len(_FURTHER) % len(_FURTHER_MARKERS)]
    if system in _BASELINES:
        return "D"
    return "s" if system in _LARGE else "o"


def _number(name: str) -> int:
    return int(text_checksum(name)[:8], 16)
