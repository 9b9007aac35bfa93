"""What a file is, by its content: names and suffixes are anybody's choice (``rec.mat?download=1``).

Only the start of a file, or the names of its fields, are read; whether it is sound is for those to
say who read it whole. Nothing here imports torch.
"""

import codecs
import difflib
import errno
import json
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from stat import S_ISDIR, S_ISREG

HEAD = 8192
"""Bytes of a file that are looked at."""
JSON_LIMIT = 16 * 2**20
"""Bytes of the longest JSON that is read, a header of safetensors or a file of its own."""


class Kind(StrEnum):
    """The kinds of files, as messages name them."""

    SESSION = "session file"
    """MATLAB v7.3, or HDF5 with a field of such recordings."""
    NWB = "NWB file"
    """Neurodata Without Borders, of any version."""
    BINNED = "binned session"
    CHECKPOINT = "checkpoint"
    RESUME = "resume file"
    PREDICTIONS = "file of predictions"
    """``predictions.h5`` of an evaluation."""
    VELOCITIES = "file of decoded velocities"
    """Of ``spikereach decode``."""
    METRICS = "metrics file"
    """``metrics.json`` of an evaluation."""
    REALTIME = "real-time file"
    """``realtime.json`` of an evaluation."""
    RESULTS = "results folder"
    """``results/evaluate/SYSTEM/SESSION/seedN``."""
    RESULTS_PAGE = "page of results"
    """Of ``spikereach view``."""
    FIGURE = "figure of a command"
    """Of ``spikereach check`` or ``spikereach closed-loop``."""
    OLD_MATLAB = "MATLAB file older than v7.3"
    PYTORCH = "PyTorch file"
    """As published weights are."""
    SAFETENSORS = "foreign safetensors file"
    HDF5 = "HDF5 file"
    """With other fields, or too damaged to list them."""
    WEB_PAGE = "web page"
    TEXT = "text file"
    EMPTY = "empty file"
    FOLDER = "folder"
    SPECIAL = "device or pipe"
    UNKNOWN = "unknown file"

    @property
    def a(self) -> str:
        """With its article."""
        return f"{'an' if self[0] in 'aeiouHN' else 'a'} {self}"


class OverwriteError(ValueError):
    """A file would be lost if another were written there: names it and the remedy."""


def kind_of(path: str | Path) -> Kind | None:
    """What lies at a path; None where nothing does.

    Links are followed. Damaged files are of the kind that what is left of them says.

    Raises:
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    if S_ISDIR(mode):
        made = ("metrics.json", "predictions.h5")
        return Kind.RESULTS if any((path / name).is_file() for name in made) else Kind.FOLDER
    if not S_ISREG(mode):
        return Kind.SPECIAL  # reading may wait for ever
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head:
        return Kind.EMPTY
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return Kind.OLD_MATLAB
    if head.startswith(b"PK\3\4") and b"/data.pkl" in head[:256]:
        return Kind.PYTORCH
    if head[8:9] == b"{" and (kind := _tensors(path)):
        return kind
    if head.startswith(b"MATLAB 7.3 MAT-file"):
        return Kind.SESSION
    if head.startswith(b"\x89PNG") and b"tEXtSoftware\0spikereach" in head:
        return Kind.FIGURE
    if head.startswith(_HDF5) or any(head[at : at + 8] == _HDF5 for at in (512, 1024, 2048, 4096)):
        return _hdf5(path)
    return _text(path, head)


def recording_kind(path: str | Path) -> Kind:
    """NWB file or session file: by its content and, where that leaves it open (damage, nothing
    there), by its name.

    Raises:
        OSError: it cannot be read.
    """
    if (found := kind_of(path)) in (Kind.NWB, Kind.SESSION):
        return found
    return Kind.NWB if Path(path).suffix.lower() == ".nwb" else Kind.SESSION


def check_overwriting(out: Path, made: Kind, reads: Iterable[Path] = ()) -> None:
    """Refuse to write ``out`` over something that the writer reads, or that is not of its kind.

    Whoever writes where a user says calls this first, before any work is done.

    Args:
        out: what will be written; nothing need lie there.
        made: the kind that it will be.
        reads: files that the writer reads, which may be links to ``out`` or it to them.
    Raises:
        OverwriteError: something lies there that must stay.
        OSError: it cannot be read.
    """
    found = kind_of(out)
    if found is None:
        return
    if read := next((path for path in reads if path.exists() and path.samefile(out)), None):
        also = "" if read == out else f" (as {read})"
        raise OverwriteError(f"{out}: is read here{also}, not written over: give another name")
    if found is Kind.FOLDER or found is Kind.RESULTS:
        raise OverwriteError(f"{out}: is a folder: give the name of a file")
    if found is Kind.SPECIAL or out.absolute().parent == Path("/dev"):
        raise OverwriteError(f"{out}: is a device or pipe: give the name of a file")
    if found not in (made, Kind.EMPTY):
        raise OverwriteError(
            f"{out}: is {found.a}, and only {made.a} is written over here: give another name"
        )


def check_absent(out: Path) -> None:
    """Refuse to write a recording over anything: whoever lies there may be somebody's only copy.

    Raises:
        OverwriteError: something lies there.
        OSError: it cannot be read.
    """
    found = kind_of(out)
    if found not in (None, Kind.EMPTY):
        raise OverwriteError(
            f"{out}: is {found.a} already, and recordings are never written over: give another "
            "name, or take it away"
        )


def mistaken(path: Path, wanted: Kind) -> str | None:
    """What is wrong with a path where a file of that kind is asked for, and what to give instead.

    None where its content says that it is one, or leaves it open: damage is for those to name who
    read it whole, with :func:`again`.

    Raises:
        OSError: it cannot be read.
    """
    found = kind_of(path)
    if found is wanted or found in _DOUBT[wanted]:
        return None
    if found is None and path.is_symlink():
        there = path.readlink()
        return f"is a link to {there}, which is not there; bring it back, or make the link anew"
    if found is None and path.parent.is_file():
        file = kind_of(path.parent)
        return (
            f"does not exist: {path.parent} is {file.a}, not a folder; give the folder it lies in"
        )
    if found is None:
        return f"does not exist; check the path{_close(path)}{_FIRST.get(wanted, '')}"
    if found in (Kind.FOLDER, Kind.RESULTS):
        inside = sorted(each.name for each in path.glob(f"*{_SUFFIX[wanted]}"))[:5]
        listed = f", such as {', '.join(inside)}" if inside else ""
        return f"is a folder, not {wanted.a}; give a file in it{listed}"
    advice = _ADVICE.get((found, wanted)) or _ADVICE.get(found) or f"give {_GIVE[wanted]}"
    return f"is {found.a}, not {wanted.a}; {advice}"


def again(path: Path, wanted: Kind) -> str:
    """What to do about a damaged file. To delete it is advised only where its content says that
    this project made it, which can then make it again."""
    return _AGAIN[wanted] if kind_of(path) is wanted else f"give {_GIVE[wanted]}"


def _close(path: Path) -> str:
    """Names beside a path that is not there which may be meant."""
    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names)
    return f" (there is {' and '.join(close)})" if close else ""


_GIVE = {
    Kind.SESSION: "a recording, fetched or exported again in the layout of Zenodo record 583331",
    Kind.NWB: "an NWB file (version 2)",
    Kind.BINNED: "one that `spikereach bin` made, or bin the session again",
    Kind.CHECKPOINT: "a checkpoint.safetensors that a training or `import-weights` made",
    Kind.RESUME: "the one of this training",
    Kind.METRICS: "the metrics.json of an evaluation, or evaluate again",
    Kind.REALTIME: "the realtime.json of an evaluation, or evaluate again",
    Kind.PREDICTIONS: "the predictions.h5 of an evaluation, or evaluate again",
    Kind.PYTORCH: "the published file",
}
_AGAIN = {
    Kind.SESSION: f"give {_GIVE[Kind.SESSION]}",  # this project makes no recordings
    Kind.BINNED: "delete the file and bin the session again",
    Kind.CHECKPOINT: "delete it and make it again",
    Kind.RESUME: "delete it",
    Kind.METRICS: "delete it and evaluate again",
    Kind.REALTIME: "delete it and evaluate again",
    Kind.PREDICTIONS: "delete it and evaluate again",
}
_FIRST = {
    Kind.BINNED: ", or bin the session first",
    Kind.CHECKPOINT: ", or make this checkpoint first",
    Kind.METRICS: ", or evaluate this system first",
    Kind.REALTIME: ", or evaluate this system first",
    Kind.PREDICTIONS: ", or evaluate this system first",
}
_DOUBT = {
    Kind.SESSION: {Kind.HDF5},
    Kind.NWB: {Kind.HDF5},
    Kind.BINNED: {Kind.HDF5},
    Kind.PREDICTIONS: {Kind.HDF5},
    Kind.CHECKPOINT: {Kind.UNKNOWN},
    Kind.RESUME: {Kind.UNKNOWN},
    Kind.METRICS: {Kind.TEXT},
    Kind.REALTIME: {Kind.TEXT},
    Kind.PYTORCH: {Kind.UNKNOWN},
}
"""What a damaged file of a kind may seem to be."""
_SUFFIX = {
    Kind.SESSION: ".mat",
    Kind.NWB: ".nwb",
    Kind.BINNED: ".h5",
    Kind.CHECKPOINT: ".safetensors",
    Kind.RESUME: ".safetensors",
    Kind.METRICS: ".json",
    Kind.REALTIME: ".json",
    Kind.PREDICTIONS: ".h5",
    Kind.PYTORCH: ".p*",
}
_ADVICE: dict[Kind | tuple[Kind, Kind], str] = {
    (Kind.OLD_MATLAB, Kind.SESSION): "save it from MATLAB with the option -v7.3",
    (Kind.NWB, Kind.SESSION): "make a session file of it with `spikereach convert`",
    Kind.WEB_PAGE: "download the file itself: a login or an error came in its place",
}


def is_web_page(head: bytes) -> bool:
    """Whether a file that starts so is HTML."""
    return bool(_PAGE.match(head.removeprefix(codecs.BOM_UTF8)))


_PAGE = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|title)\b",
    re.IGNORECASE | re.DOTALL,
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FIELDS = {
    Kind.PREDICTIONS: ({"predicted", "velocity", "position", "spikes"}, {"first_step"}),
    Kind.BINNED: ({"spikes"}, {"header", "sha256"}),
    Kind.VELOCITIES: ({"velocity"}, {"dt_s"}),
    Kind.SESSION: ({"spikes"}, set()),
}
"""Datasets and attributes at the top of HDF5 files; the first kind that has all its own. One of
velocities holds nothing else: it may be written over, and others have velocities too."""
_KEYS = {
    Kind.METRICS: {"system", "session", "seed", "footprint", "r2"},
    Kind.REALTIME: {"system", "session", "seed", "realtime", "lookahead_measured"},
}
"""Keys of JSON files."""


def _hdf5(path: Path) -> Kind:
    import h5py
    from h5py import h5a

    try:
        with h5py.File(path, "r") as file:
            top = file.id
            # An attribute in NWB 2, a dataset in NWB 1.
            if h5a.exists(top, b"nwb_version") or top.links.exists(b"nwb_version"):
                return Kind.NWB
            for kind, (datasets, attributes) in _FIELDS.items():
                if kind is Kind.VELOCITIES and len(file) > len(datasets):
                    continue
                if all(top.links.exists(name.encode()) for name in datasets) and all(
                    h5a.exists(top, name.encode()) for name in attributes
                ):
                    return kind
    except Exception:  # h5py raises nearly anything on damaged files
        pass
    return Kind.HDF5


def _tensors(path: Path) -> Kind | None:
    """By the header of a file in the layout of safetensors: its length, then JSON."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = _json(file.read(length)) if length <= JSON_LIMIT else None
    if not isinstance(header, dict):
        return None
    metadata = header.get("__metadata__")
    content = _json(metadata.get("spikereach")) if isinstance(metadata, dict) else None
    named = content.get("kind") if isinstance(content, dict) else None
    ours = (Kind.CHECKPOINT, Kind.RESUME)
    return next((kind for kind in ours if kind == named), Kind.SAFETENSORS)


def _text(path: Path, head: bytes) -> Kind:
    if is_web_page(head):
        ours = b'<meta name="generator" content="spikereach">' in head
        return Kind.RESULTS_PAGE if ours else Kind.WEB_PAGE
    try:  # the head may end inside a character
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return Kind.UNKNOWN
    if "\0" in text:
        return Kind.UNKNOWN
    if text.partition("\n")[0].rstrip("\r") == "step,time_s,velocity_x,velocity_y":
        return Kind.VELOCITIES
    if text.lstrip().startswith("{") and path.stat().st_size <= JSON_LIMIT:
        content = _json(path.read_bytes())
        for kind, keys in _KEYS.items():
            if isinstance(content, dict) and keys <= content.keys():
                return kind
    return Kind.TEXT


def _json(text: object) -> object:
    """What a JSON text holds; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
