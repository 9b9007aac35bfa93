"""A recording, whatever lies in a file: session file, NWB file or binned session."""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory

from spikereach.config import ConfigError, Nwb, read
from spikereach.config.sessions import AREA_LENGTH, Session, find, is_area
from spikereach.data.binning import BinnedSession, bin_session
from spikereach.data.errors import SessionError
from spikereach.data.nwb.reading import describe, to_session_file
from spikereach.kinds import Kind, kind_of, mistaken, recording_kind


def load_session(
    path: str | Path,
    *,
    monkey: str | None = None,
    areas: Mapping[str, int] | None = None,
    config: str | Path | Sequence[str | Path] = (),
) -> BinnedSession:
    """A binned session, or a session file or NWB file that is binned here in steps of 4 ms.

    Which of them it is, its content says: browsers and wget add to names. A session file is
    described by ``monkey`` and ``areas``; without them its name is looked up among the sessions of
    Zenodo record 583331, the synthetic ones and those of a configuration. An NWB file that is not
    found there describes itself, and a binned session always does.

    Args:
        path: session file (.mat), NWB file (.nwb) or binned session (.h5).
        monkey: name.
        areas: channels per cortex area in the order of the file, such as {"M1": 96, "S1": 96}.
        config: configurations whose ``catalogue`` may know the session, later ones laid over
            earlier ones. Without any, config.yaml of the working directory, where there is one.
    Raises:
        SessionError: the file is missing, damaged, or not that session.
        ConfigError: a session file is described by half, or by nothing, or its areas are no names
            and numbers of channels.
    """
    path = Path(path)
    if kind_of(path) is Kind.BINNED:
        binned = BinnedSession.load(path)
        counted = {area: binned.areas.count(area) for area in dict.fromkeys(binned.areas)}
        if monkey not in (None, binned.monkey) or (areas is not None and dict(areas) != counted):
            layout = ",".join(f"{area}={channels}" for area, channels in counted.items())
            raise ConfigError(
                f"{path}: was binned as monkey {binned.monkey} with {layout}, not as what is given "
                "here: leave monkey and areas out, or bin the session file again with others"
            )
        return binned
    session, options = described(path, monkey=monkey, areas=areas, config=config)
    if recording_kind(path) is not Kind.NWB:
        return bin_session(path, session)
    with TemporaryDirectory() as folder:
        made = Path(folder, f"{session.name}.mat")
        to_session_file(path, session.areas, options, made)
        try:
            return bin_session(made, session)
        except SessionError as error:
            raise SessionError(str(error).replace(str(made), str(path))) from error


def described(
    path: Path,
    *,
    monkey: str | None = None,
    areas: Mapping[str, int] | None = None,
    config: str | Path | Sequence[str | Path] = (),
) -> tuple[Session, Nwb]:
    """What a session file or NWB file is taken for, and how it is read where it is NWB.

    Arguments and errors are those of `load_session`.
    """
    nwb = (kind := recording_kind(path)) is Kind.NWB
    if problem := mistaken(path, kind):
        raise SessionError(f"{path}: {problem}")
    known_as = re.fullmatch(r"(.+?)( \(\d+\))?\.(mat|nwb)\b.*", path.name, re.IGNORECASE)
    name = known_as[1] if known_as else path.stem
    if (monkey is None) != (areas is None):
        raise ConfigError("monkey and areas describe a session file together: give both")
    config = [config] if isinstance(config, str | Path) else config
    if not config and Path("config.yaml").is_file() and (nwb or monkey is None):
        config = ["config.yaml"]
    catalogue = read(*config).catalogue if config and (nwb or monkey is None) else {}
    for entry, each in catalogue.items():
        if each.file is not None and Path(each.file).name == path.name:
            name = entry
    options = catalogue[name].nwb if name in catalogue else Nwb()
    if monkey is not None:
        return Session(name, monkey, _checked(areas)), options
    try:
        return find(name, catalogue), options
    except ConfigError as error:
        if nwb:
            found = describe(path, options)
            return Session(name, found.monkey, found.areas), options
        raise ConfigError(
            f"{error}; or describe the file by its monkey and areas "
            "(--monkey NAME --areas AREA=CHANNELS)"
        ) from None


def _checked(areas: Mapping[str, int]) -> dict[str, int]:
    """Channels per area as a configuration may have them."""
    if not isinstance(areas, Mapping) or not areas:
        raise ConfigError(f"areas: {areas!r}: expected channels per area, such as {{'M1': 96}}")
    for area, channels in areas.items():
        if not (isinstance(area, str) and is_area(area)):
            raise ConfigError(
                f"areas: {area!r} is no name of an area: expected words with single spaces "
                f"between, without = and comma, at most {AREA_LENGTH} characters"
            )
        if not isinstance(channels, Integral) or isinstance(channels, bool) or channels < 1:
            raise ConfigError(
                f"areas: {area} has {channels!r} channels: expected a whole number of at least 1"
            )
    return {area: int(channels) for area, channels in areas.items()}
