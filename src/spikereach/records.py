"""Results as JSON files: what was found of one decoder on one session."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from spikereach import files


def faults(error: ValidationError) -> str:
    """What is wrong with a record in one line: the fields it lacks, or else each wrong one."""
    found = [(".".join(map(str, each["loc"])), each) for each in error.errors()]
    lacking = [name for name, each in found if each["type"] == "missing"]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    return "; ".join(f"{name}: {each['msg']}" for name, each in found)


class Record(BaseModel):
    """What was measured of one decoder on one session; finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    system: str
    session: str
    seed: int

    def write(self, path: str | Path) -> None:
        """Write strict JSON, in the order of the fields, whole or not at all.

        Raises:
            WriteError: the file cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False)
        files.replace(path, f"{text}\n".encode())
