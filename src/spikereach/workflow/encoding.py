"""Whether Snakemake could read the configuration, which it does in the encoding of the locale."""

import codecs
import json
import locale
from typing import Any

from spikereach.config import ConfigError


def check_encoding(config: dict[str, Any]) -> None:
    """Refuse letters that Snakemake took for others, and which tables would then show.

    Raises:
        ConfigError: the locale is not UTF-8, and the configuration has more than ASCII.
    """
    encoding = locale.getpreferredencoding()
    text = json.dumps(config, ensure_ascii=False, default=str)
    if not text.isascii() and codecs.lookup(encoding).name != "utf-8":
        raise ConfigError(
            f"the configuration has letters beyond ASCII, which Snakemake reads as {encoding} in "
            "this locale: run it with PYTHONUTF8=1, or in a locale with UTF-8 (LC_ALL=C.UTF-8)"
        )
