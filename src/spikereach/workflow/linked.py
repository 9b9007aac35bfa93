"""Files that DVC linked to its cache, made the run folder's own before Snakemake sees them.

Where DVC's cache is one of links (`cache.type`), files of the run folder are those of the cache,
write-protected. Snakemake refuses to make such a file anew, and writes into its own record in
place, as trials do into the journal of a search: where that is allowed, as for root, it would alter
what the cache keeps of an earlier version.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from spikereach.workflow.runfolder import RunFolderError

FOLDERS = (".snakemake/metadata", "data", "results", "paper_tables", "figures", "manifests")
"""All that dvc.yaml lists lies here."""
RECORDING = ".mat"
"""Large, and written by nobody who finds one: these stay links."""


def make_own() -> None:
    """Put a copy in the place of each such link, with its content and time stamp.

    Raises:
        RunFolderError: a file cannot be copied.
    """
    for path in _links():
        copy = path.with_name(f".{path.name}.own")
        try:
            shutil.copy2(path, copy)
            copy.chmod(copy.stat().st_mode | stat.S_IWUSR)
            os.replace(copy, path)
        except OSError as error:
            copy.unlink(missing_ok=True)
            raise RunFolderError(
                f"{path} is a link into a cache of DVC, of which a run needs a copy; it cannot be "
                f"made ({error.strerror}): free disk space, or make the folder writable"
            ) from None


def _links() -> Iterator[Path]:
    """Write-protected files that have another name or are links; without links to nothing."""
    for folder in FOLDERS:
        for base, _, names in os.walk(folder):
            for path in (Path(base, name) for name in names):
                if path.suffix == RECORDING or not path.is_file():
                    continue
                shared = path.is_symlink() or path.stat().st_nlink > 1
                if shared and not path.stat().st_mode & stat.S_IWUSR:
                    yield path
