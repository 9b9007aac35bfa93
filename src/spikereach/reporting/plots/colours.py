"""One colour and one marker per system, the same in every figure.

Hues are those of Okabe and Ito (2008) and of Tol (2021), safe for colour-blind readers; the
large sibling of a system has a darker shade of its hue and another marker. The systems of an
ablation stand around the one they vary; they differ in lightness too.
"""

from spikereach.identity import text_checksum

TRUE = "#000000"
"""Measured movement, published marks and reference lines."""

GREY = "#8C8C8C"

_LOOKS = {
    "Wiener": ("#999999", "D"),
    "Kalman": ("#5A5A5A", "D"),
    "SNN2": ("#56B4E9", "o"),
    "SNN2-fixed": ("#A6DAF5", "o"),
    "SNN3": ("#1F6F9F", "s"),
    "ANN2": ("#C9B037", "o"),
    "ANN3": ("#7A6A16", "s"),
    "tinyRSNN": ("#009E73", "o"),
    "tinyRSNN-fixed": ("#5FCBA5", "o"),
    "bigRSNN": ("#00553E", "s"),
    "LIF-t2": ("#CC79A7", "o"),
    "LIF-t1": ("#8A2D63", "s"),
    "sGRU-t2": ("#B9A3E3", "o"),
    "sGRU-t1": ("#6F4FB3", "s"),
    "GRU-t2": ("#E69F00", "o"),
    "GRU-t1": ("#9A6A00", "s"),
    "AEGRU": ("#661100", "o"),
    "BMnet": ("#003A66", "s"),
    "RTnet": ("#0072B2", "o"),
    "sRTnet": ("#D55E00", "o"),
    "RAT-SNN": ("#B04A8F", "P"),
    "RAT-SNN-scratch": ("#DDA0CC", "P"),
    "BMnet-M1": ("#9CC3E0", "o"),
    "BMnet-S1": ("#E3C4A8", "o"),
    "BMnet-pre": ("#4A86B4", "o"),
    "BMnet-post": ("#85759F", "o"),
    "RTnet-M1": ("#B5D6EC", "o"),
    "RTnet-pre": ("#5F9EC9", "o"),
    "RTnet-post": ("#96889E", "o"),
    "RTnet-pre-dropout": ("#2E6E78", "o"),
    "RTnet-gate": ("#E0A030", "o"),
    "RTnet-float32": ("#84BCE0", "o"),
    "RTnet-spikes": ("#3C5F8A", "o"),
    "RTnet-regularised": ("#6A5A7C", "o"),
    "RTnet-weights": ("#9C5B52", "o"),
    "sRTnet-pruned": ("#A84A00", "o"),
    "sRTnet-sparse": ("#6B2F00", "o"),
    "smallRSNN": ("#332288", "^"),
    "smallRSNN-6bit": ("#5B4BB0", "^"),
    "smallRSNN-4bit": ("#877CD0", "^"),
    "smallRSNN-ternary": ("#B9B2EA", "^"),
    "IIRnet": ("#882255", "v"),
    "GRU-32": ("#88CCEE", "s"),
    "minGRU": ("#DDAA33", "P"),
    "TCN-GRU": ("#999933", "X"),
    "RTnet-centred": ("#0072B2", "o"),
    "RTnet-causal-0": ("#BCDDF2", "o"),
    "RTnet-causal-1": ("#ABD4ED", "o"),
    "RTnet-causal-2": ("#9ACAE9", "o"),
    "RTnet-causal-3": ("#88C1E4", "o"),
    "RTnet-causal-4": ("#77B7E0", "o"),
    "RTnet-causal-5": ("#66AEDB", "o"),
    "RTnet-causal-11": ("#3391C9", "o"),
}
_FURTHER = ("#332288", "#44AA99", "#AA4499", "#117733", "#882255", "#DDAA33", "#88CCEE", "#999933")
_FURTHER_MARKERS = ("^", "v", "<", ">", "P", "X", "h", "p")


def colour(system: str) -> str:
    """Hex colour of a system; one without its own gets a fixed further one by its name. Names that
    differ in the number at their end, as trials do, have different looks up to 64 of them."""
    return _look(system)[0]


def marker(system: str) -> str:
    """Matplotlib marker of a system."""
    return _look(system)[1]


def _look(system: str) -> tuple[str, str]:
    if system in _LOOKS:
        return _LOOKS[system]
    stem = system.rstrip("0123456789")
    number = int(text_checksum(stem)[:8], 16) + int(system[len(stem) :] or 0)
    row, column = divmod(number, len(_FURTHER))
    return _FURTHER[column], _FURTHER_MARKERS[row % len(_FURTHER_MARKERS)]
