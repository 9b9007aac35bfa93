"""Opening NWB files, every problem of which is one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import TYPE_CHECKING

import h5py

from spikereach.data.errors import SessionError
from spikereach.files import read_error
from spikereach.kinds import Kind, mistaken

if TYPE_CHECKING:
    from pynwb import NWBFile


def library() -> ModuleType:
    """pynwb.

    Raises:
        SessionError: it is not installed.
    """
    try:
        import pynwb
    except ModuleNotFoundError as error:
        raise SessionError(
            f"NWB needs the package {error.name}, which is not installed: "
            "pip install 'spikereach[nwb]' (or pip install pynwb)"
        ) from None
    return pynwb


@contextmanager
def opened(path: str | Path) -> Iterator[NWBFile]:
    """An NWB file, whose datasets are read where they are sliced.

    Raises:
        SessionError: it is missing, damaged, of NWB 1, leads to an absent file, or pynwb is not
            installed or cannot read it; also for whatever goes wrong while it is open.
        ReadError: the system does not let it be read.
    """
    path = Path(path)
    if problem := mistaken(path, Kind.NWB):
        raise SessionError(f"{path}: {problem}")
    pynwb = library()
    try:
        _check(path)
        with warnings.catch_warnings():
            # Of cached schemas, negative rates and broken links: what matters is told as an error.
            warnings.simplefilter("ignore")
            with pynwb.NWBHDF5IO(path, "r") as io:
                yield io.read()
    except (SessionError, ImportError):
        raise
    except Exception as error:
        if problem := read_error(path, error):
            raise problem from error
        reason = shorten(str(error), 200, placeholder=" ...") or type(error).__name__
        raise SessionError(
            f"{path}: cannot be read as NWB ({reason}); it has the schema {schema_version(path)}, "
            f"and pynwb is {pynwb.__version__}: ask `nwbinspector` about it, or export it anew"
        ) from error


def schema_version(path: Path) -> str:
    """Version of the schema that an NWB file was written with, such as 2.6.0."""
    with h5py.File(path, "r") as file:
        return str(file.attrs["nwb_version"])


def _check(path: Path) -> None:
    """Refuse what pynwb does not read, or would read by half."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno is not None:
            raise
        reason = " ".join(str(error).split())
        raise SessionError(
            f"{path}: is damaged or was not copied whole ({reason}); fetch or export it again"
        ) from error
    with file:
        if "nwb_version" not in file.attrs and "nwb_version" not in file:
            raise SessionError(
                f"{path}: is an HDF5 file, but says of no version of NWB that it is of it; give an "
                "NWB file (version 2)"
            )
        if "nwb_version" not in file.attrs:
            raise SessionError(
                f"{path}: is of NWB 1, which is not read: ask its makers for NWB 2, or write a "
                "session file from its arrays (docs/add-a-session.md)"
            )
        _refuse_absent(path, file)


def external_links(file: h5py.File) -> dict[str, h5py.ExternalLink]:
    """Links to other files by their place; what they name counts from the folder of the file."""
    found: dict[str, h5py.ExternalLink] = {}

    def visit(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            found[name] = link

    file.visititems_links(visit)
    return found


def _refuse_absent(path: Path, file: h5py.File) -> None:
    """Refuse links to files that are not there: pynwb would leave out what they lead to, with a
    warning or without."""
    folder = path.resolve().parent
    absent = [
        f"{name} is a link to {link.filename}"
        for name, link in external_links(file).items()
        if not (folder / link.filename).exists()
    ]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise SessionError(
            f"{path}: {absent[0]}, which is not there{more}; put that file beside it, or have it "
            "exported with all its data inside"
        )
