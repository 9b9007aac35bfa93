"""The content of ``firmware.json``: a decoder on emulated microcontrollers."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from spikereach import files
from spikereach.export.firmware.errors import FirmwareError
from spikereach.records import Record, faults


class Item(BaseModel):
    """A function, a constant or a member of the state in the linked image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    section: str
    name: str
    bytes: int


class Measured(BaseModel):
    """A decoder on one machine, its velocities equal to those expected to the last bit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    instructions_median: float
    """Per bin, of ``decoder_step`` with its return."""
    instructions_p99: float
    instructions_worst: int
    worst_bin: int
    """The first of the test part that took so many."""
    weights_bytes: int
    """All constants in flash, packed weights above all."""
    code_bytes: int
    """With what the compiler itself adds (division, copies)."""
    state_bytes: int
    """Buffers and states, the caller's ``decoder_state``."""
    stack_bytes: int
    """Of the deepest step, measured."""
    items: tuple[Item, ...]
    compiler: str
    flags: str
    emulator: str

    @property
    def flash_bytes(self) -> int:
        return self.weights_bytes + self.code_bytes

    @property
    def ram_bytes(self) -> int:
        return self.state_bytes + self.stack_bytes


class Firmware(Record):
    """A decoder on all machines."""

    bins: int
    """Of the test part, from its beginning, that were decoded and compared."""
    machines: dict[str, Measured]
    """By their names, see `machines.MACHINES`."""
    provenance: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> "Firmware":
        """Read what :meth:`write` wrote.

        Raises:
            FirmwareError: the file is damaged.
            ReadError: it cannot be read.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise files.read_error(path, error) or error from error
        except ValidationError as error:
            raise FirmwareError(
                f"{path}: damaged, or not of this version ({faults(error)}); delete it and measure "
                "again"
            ) from None
