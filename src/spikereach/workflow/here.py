"""What a configuration makes of the computer on which a run is started."""

from pathlib import Path
from typing import Any

from spikereach.export.firmware.machines import missing


def settle(config: dict[str, Any], home: Path) -> None:
    """Put into a sound configuration what its jobs shall see, wherever they run.

    Folders are absolute, and no firmware is measured where compilers or emulators are absent.

    Args:
        config: changed in place.
        home: from which relative folders count.
    """
    for key in ("folder", "weights_folder"):
        if config[key] is not None:
            config[key] = str(home / config[key])
    if missing():
        config["firmware"] = None
