"""What a session file says of the NWB file that it was read from."""

from __future__ import annotations

import json
from typing import Any

from spikereach.data.matfile import SessionFile

FIELD = "nwb"
"""Field of session files, characters: JSON that `reading` wrote."""


def origin(file: SessionFile) -> dict[str, Any] | None:
    """The content of the field; None where the file is no NWB file's.

    Raises:
        SessionError: the field is damaged.
    """
    if FIELD not in file:
        return None
    codes = file.values(FIELD, file.field(FIELD), "u")
    with file.guard(FIELD):
        return dict(json.loads(codes.tobytes().decode("utf-16-le")))
