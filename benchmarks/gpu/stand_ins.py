"""In the place of packages that a machine with a GPU may lack.

The checks need PyTorch, Triton, numba, NumPy, h5py, safetensors, pydantic and pytest. A few of our
modules import others at their top, of which no check needs more than what stands here. A package
that is installed is taken as it is.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("config.json")
"""config.yaml as JSON, with its checksum; written by `make schema`."""


class YAMLError(Exception):
    pass


def safe_load(text: bytes) -> dict:
    """What config.yaml says, where the text is that of config.yaml."""
    known = json.loads(CONFIG.read_bytes())
    if checksum(text) != known["sha256"]:
        raise YAMLError(
            f"without PyYAML only the config.yaml that {CONFIG.name} was made of can be read: "
            "install PyYAML, or run `make schema` where it is"
        )
    return known["config"]


def checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


class DataFrame(list):
    """The rows of a training's history; ``columns`` is their order in a table."""

    def __init__(self, rows=(), columns=()):
        super().__init__(rows)

    def to_dict(self, orient: str) -> list[dict]:
        return list(self)


class ThreadpoolController:
    """Of the libraries behind the compiled loops, which run on the CPU and in no check."""

    def select(self, **which) -> "ThreadpoolController":
        return self

    def limit(self, **limits) -> nullcontext:
        return nullcontext()


def tqdm(iterable=(), **options):
    return iterable


class NetworkError(Exception):
    """In the place of all errors of a network, which no check uses."""


_OF_REQUESTS = ("InvalidSchema", "InvalidURL", "MissingSchema", "RequestException")
_OF_URLLIB3 = ("ConnectTimeoutError", "ProxyError", "SSLError")
STAND_INS = {
    "yaml": {"YAMLError": YAMLError, "safe_load": safe_load},
    "pandas": {"DataFrame": DataFrame},
    "threadpoolctl": {"ThreadpoolController": ThreadpoolController},
    "tqdm": {"tqdm": tqdm},
    "requests": {"Response": None},
    "requests.exceptions": dict.fromkeys(_OF_REQUESTS, NetworkError),
    "requests.utils": {"get_environ_proxies": None, "select_proxy": None},
    "urllib3": {"exceptions": SimpleNamespace(**dict.fromkeys(_OF_URLLIB3, NetworkError))},
    "urllib3.util": {"Retry": None, "parse_url": None},
}


@contextmanager
def installed() -> Iterator[list[str]]:
    """Within, modules that are imported find them where the packages are not; gives their names.

    Afterwards they are gone, so that other libraries see what is absent.
    """
    packages = dict.fromkeys(name.partition(".")[0] for name in STAND_INS)
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    modules = [name for name in STAND_INS if name.partition(".")[0] in absent]
    for name in modules:
        module = ModuleType(name, f"Stand-in of {__name__}.")
        vars(module).update(STAND_INS[name])
        sys.modules[name] = module
    try:
        yield absent
    finally:
        for name in modules:
            del sys.modules[name]


def write() -> None:
    """Make :data:`CONFIG` anew; needs PyYAML."""
    import yaml

    text = (ROOT / "config.yaml").read_bytes()
    known = {"sha256": checksum(text), "config": yaml.safe_load(text)}
    CONFIG.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
