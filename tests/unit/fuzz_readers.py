"""Fuzzing of one reader, in a process of its own: ``python fuzz_readers.py READER FILES FOLDER``.

Valid files are damaged in all ways that a list of edits can describe. Only the reader's own error
may come out. The process has little memory, and prints how many files were read and refused.
Whoever has time gives a larger number of files.
"""

import collections
import copy
import json
import resource
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY = 512 * 2**20
"""Bytes of address space beside what the interpreter has with all its imports."""

place = st.floats(0, 1, exclude_max=True)
size = st.integers(1, 64)
edit = st.one_of(
    st.tuples(st.just("flip"), place, st.integers(1, 255)),
    st.tuples(st.just("write"), place, st.sampled_from([b"\x00" * 8, b"\xff" * 8, b"\x7f" * 4])),
    st.tuples(st.just("number"), place, st.integers(0, 2**64 - 1)),
    st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("delete"), place, size),
    st.tuples(st.just("splice"), place, place, size),
    st.tuples(st.just("cut"), place),
)
edits = st.lists(edit, min_size=1, max_size=5)


def damaged(content, changes):
    """The content after these edits."""
    data = bytearray(content)
    for kind, where, *how in changes:
        at = int(where * len(data))
        if kind == "flip" and data:
            data[at] ^= how[0]
        elif kind == "write":
            data[at : at + len(how[0])] = how[0]
        elif kind == "number":
            data[at : at + 8] = how[0].to_bytes(8, "little")
        elif kind == "insert":
            data[at:at] = how[0]
        elif kind == "delete":
            del data[at : at + how[0]]
        elif kind == "splice":
            source = int(how[0] * len(data))
            data[at : at + how[1]] = data[source : source + how[1]]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


# Values that stand where others are expected.
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from([2**31, 10**9, 2**63, 2**64, 10**30, -(10**9)]),
    st.floats(),
    st.sampled_from(["", "os:system", "subprocess:Popen", "../../x", "rsnn", "gru", "lif"]),
    st.sampled_from(["a" * 5000, "\x00", "\ud800"]),
    st.lists(st.integers(-1, 9), max_size=3),
    st.dictionaries(st.sampled_from(["kind", "a"]), st.integers(0, 1), max_size=2),
)
revisions = st.lists(st.tuples(st.integers(0, 10**6), odd), min_size=1, max_size=4)


def leaves(value, at=()):
    """Paths of all values in a JSON-like value, itself left out."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield (*at, key)
        if isinstance(inner, dict | list):
            yield from leaves(inner, (*at, key))


def revised(value, changes):
    """A JSON-like value with other values at some of its places."""
    value = copy.deepcopy(value)
    for number, new in changes:
        paths = list(leaves(value))
        if not paths:
            break
        *above, key = paths[number % len(paths)]
        parent = value
        for name in above:
            parent = parent[name]
        parent[key] = new
    return value


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(strategy, write, read, error, files):
    """Damage and read a number of files, the same every time."""
    outcomes = collections.Counter()

    @settings(
        max_examples=files,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(changes):
        try:
            path = write(changes)
            begun = time.monotonic()
            read(path)
            outcomes["read"] += 1
        except error as problem:
            outcomes["refused"] += 1
            if str(path) not in str(problem):
                raise RuntimeError("the message does not name the file") from problem
        assert time.monotonic() - begun < 5, "too slow"

    limit_memory()
    read(write([]))  # without damage
    attempt()
    print(json.dumps(outcomes))


def session(folder, **layout):
    from session_files import random_session
    from spikereach.config.sessions import Session
    from spikereach.data.binning import bin_session
    from spikereach.data.errors import SessionError

    path = folder / "sound.mat"
    names = ["M1 001", "M1 002"]
    random_session(path, channels=2, steps=300, units=1, names=names, **layout)
    content, target = path.read_bytes(), folder / "damaged.mat"

    def write(changes):
        target.write_bytes(damaged(content, changes))
        return target

    two = Session("x", "monkey", {"M1": 2})
    return edits, write, lambda path: bin_session(path, two), SessionError


def binned(folder):
    from session_files import random_session
    from spikereach.config.sessions import Session
    from spikereach.data.binning import BinnedSession, bin_session
    from spikereach.data.errors import SessionError

    raw = random_session(folder / "sound.mat", channels=2, steps=400)
    path, target = folder / "sound.h5", folder / "damaged.h5"
    bin_session(raw, Session("x", "monkey", {"M1": 2})).save(path)
    content = path.read_bytes()

    def write(changes):
        target.write_bytes(damaged(content, changes))
        return target

    return edits, write, BinnedSession.load, SessionError


def a_checkpoint(folder):
    from spikereach.models.checkpoint import save
    from spikereach.models.zoo import build
    from training_cases import CHANNELS, checkpoint, rsnn

    path = folder / "sound.safetensors"
    save(checkpoint(build(rsnn(), CHANNELS), rsnn()), path)
    return path


def checkpoint(folder):
    """Bytes of a checkpoint are damaged."""
    from spikereach.models.checkpoint import CheckpointError, load

    content, target = a_checkpoint(folder).read_bytes(), folder / "damaged.safetensors"

    def write(changes):
        target.write_bytes(damaged(content, changes))
        return target

    return edits, write, load, CheckpointError


def header(folder):
    """The header of a checkpoint is changed; its length is right."""
    from spikereach.models.checkpoint import CheckpointError, load

    content, target = a_checkpoint(folder).read_bytes(), folder / "damaged.safetensors"
    begin = 8 + int.from_bytes(content[:8], "little")
    fields = json.loads(content[8:begin])

    def write(changes):
        text = json.dumps(revised(fields, changes)).encode()
        target.write_bytes(len(text).to_bytes(8, "little") + text + content[begin:])
        return target

    return revisions, write, load, CheckpointError


def metadata(folder):
    """What a checkpoint says about its decoder is forged, with the checksum that belongs to it."""
    from spikereach.models import tensorfile
    from spikereach.models.checkpoint import KIND, CheckpointError, load

    path, target = a_checkpoint(folder), folder / "damaged.safetensors"
    tensors, fields = tensorfile.read(path, KIND)

    def write(changes):
        tensorfile.write(target, KIND, tensors, revised(fields, changes))
        return target

    return revisions, write, load, CheckpointError


READERS = {
    "session": lambda folder: session(folder, compression="gzip"),
    "session-contiguous": lambda folder: session(folder, compression=None),
    "session-checked": lambda folder: session(
        folder, fletcher32=True, cells_as={"chunks": (1, 1), "fletcher32": True}
    ),
    "binned": binned,
    "checkpoint": checkpoint,
    "header": header,
    "metadata": metadata,
}

if __name__ == "__main__":
    run(*READERS[sys.argv[1]](Path(sys.argv[3])), int(sys.argv[2]))
