"""The names of architectures, apart from `zoo` so that the workflow reads them without torch."""

import ast
from functools import cache
from pathlib import Path

from spikereach.config.errors import ConfigError
from spikereach.config.nearest import nearest

#: Architecture -> "module:Class"; imported when first used.
ARCHITECTURES: dict[str, str] = {
    "rsnn": "spikereach.models.rsnn:RSNN",
    "snn2": "spikereach.models.snn2:SNN2",
    "snn3": "spikereach.models.snn3:SNN3",
    "ann2": "spikereach.models.ann:ANN2",
    "ann3": "spikereach.models.ann:ANN3",
    "hybrid": "spikereach.models.hybrid:Hybrid",
    "recursive": "spikereach.models.recursive:Recursive",
    "gru": "spikereach.models.vasilache:GRU",
    "sgru": "spikereach.models.vasilache:SGRU",
    "lif": "spikereach.models.vasilache:LIF",
    "aegru": "spikereach.models.aegru:AEGRU",
    "wiener": "spikereach.models.linear:Wiener",
    "kalman": "spikereach.models.linear:Kalman",
    "counted": "spikereach.models.counted:Counted",
}


def locate(architecture: str) -> tuple[str, str]:
    """Module and class of a name in :data:`ARCHITECTURES` or of a path ``package.module:Class``; a
    `ConfigError` for what is neither."""
    module, separator, name = ARCHITECTURES.get(architecture, architecture).partition(":")
    if not (separator and module and name):
        raise ConfigError(
            f"unknown architecture {architecture!r}, and no path package.module:Class of your own; "
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    return module, name


@cache
def sizes_of(architecture: str) -> frozenset[str]:
    """Names of the sizes that an architecture of :data:`ARCHITECTURES` takes.

    Read from its source, because importing it takes torch: arguments of its constructor, and those
    of its base's where it hands on ``**sizes``.
    """
    module, name = locate(architecture)
    source = Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(source.read_text("utf-8"))
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
    found: set[str] = set()
    while name in classes:
        own, (name, *_) = classes[name], [base.id for base in classes[name].bases]
        for each in own.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                found |= {arg.arg for arg in [*each.args.args[1:], *each.args.kwonlyargs]}
                if each.args.kwarg is None:
                    name = ""
    return frozenset(found - {"channels", "area_channels"})
