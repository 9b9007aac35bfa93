"""The content of ``firmware.json``: a decoder on emulated microcontrollers."""

from pydantic import BaseModel, ConfigDict


class Item(BaseModel):
    """A symbol of the decoder in the linked image."""

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
