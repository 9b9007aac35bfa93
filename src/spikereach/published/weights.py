"""Published weights: where they lie, and how their files are fetched.

ANN2, ANN3, SNN2 and SNN3 are the NeuroBench examples' (Yik et al. 2025, Apache-2.0), tinyRSNN
is Liu et al.'s (MIT), five seeds per session, in float16 after pruning. Nothing here needs
torch, so that the workflow can plan with it; `importers` reads the files.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from spikereach import files
from spikereach.config import Download
from spikereach.data.transfer import RemoteFile, Server
from spikereach.identity import file_checksum


class WeightsError(ValueError):
    """A file of published weights is absent, damaged or not what it should be."""


@dataclass(frozen=True)
class Source:
    """One published file. ``seed`` is 0 where one file per session was published."""

    system: str
    session: str
    seed: int
    address: str
    size: int
    sha256: str
    licence: str

    @property
    def file(self) -> str:
        """Where it lies in a folder of all published files."""
        seed = f"-seed{self.seed}" * (self.seed > 0)
        return f"{self.system}/{self.session}{seed}{Path(self.address).suffix}"


@cache
def sources() -> tuple[Source, ...]:
    """The 54 published files with their addresses at pinned commits."""
    table = json.loads(resources.files(__package__).joinpath("weights.json").read_bytes())
    return tuple(
        Source(
            system=system,
            session=session,
            seed=int(seed or 0),
            address=origin["address"].format(
                commit=origin["commit"], folder=origin["folders"].get(session, session), seed=seed
            ),
            size=origin["bytes"][session.partition("_")[0]],
            sha256=sha256,
            licence=origin["licence"],
        )
        for system, origin in table.items()
        for name, sha256 in origin["sha256"].items()
        for session, _, seed in [name.partition("-seed")]
    )


def of_system(system: str) -> tuple[Source, ...]:
    """The files of one system; a `WeightsError` with the systems that have some if it has none."""
    found = tuple(source for source in sources() if source.system == system)
    if not found:
        known = ", ".join(dict.fromkeys(source.system for source in sources()))
        raise WeightsError(f"no published weights for {system!r}; there are some for {known}")
    return found


def fetch(
    source: Source, target: Path, *, folder: str | Path | None, settings: Download, progress: bool
) -> None:
    """Put a published file at ``target``, unless it lies there already; nothing else is replaced.

    A copy is looked for in ``folder``, by any name and at any depth; where that is None the file
    is downloaded as the block ``download`` of the configuration says.

    Raises:
        WeightsError: another file lies there, ``folder`` has no copy, or the download failed;
            with the remedy.
    """
    if _is(source, target):
        return
    if target.exists():
        raise WeightsError(
            f"{target}: is not the published file of that name (expected SHA-256 {source.sha256}); "
            "move it elsewhere and run again"
        )
    if folder is not None:
        copy = next((p for p in sorted(Path(folder).rglob("*")) if _is(source, p)), None)
        if copy is None:
            raise WeightsError(
                f"{folder} holds no copy of {source.address} (SHA-256 {source.sha256}): "
                f"put it there by any name, or set `weights_folder` to null to download it"
            )
        files.replace(target, copy.read_bytes())
        return

    def failed(problem: str) -> WeightsError:
        return WeightsError(
            f"cannot download {source.address}: {problem}. A copy fetched elsewhere is used when "
            f"put at {target}, or into the folder that `weights_folder` names"
        )

    remote = RemoteFile(source.address, source.size, "sha256", source.sha256)
    Server(source.file, settings, failed).download(remote, target, progress=progress)


def _is(source: Source, path: Path) -> bool:
    same_size = path.is_file() and path.stat().st_size == source.size
    return same_size and file_checksum(path) == source.sha256
