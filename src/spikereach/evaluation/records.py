"""The contents of ``metrics.json`` and ``realtime.json``: one name for every number.

Tables, figures, pages and the command line read these fields under the same names. Nothing here
imports torch, so that they can do so quickly.
"""

from pydantic import BaseModel, ConfigDict, Field

from spikereach.records import Record

Format = str | tuple[int, int] | int
"""float32, float16, or integer and fractional bits of a fixed-point number (sign bit extra)."""


class Part(BaseModel):
    """A part of the memory of a deployed decoder."""

    layer: str
    kind: str
    """weights, scale, input, buffer or state."""
    values: int
    bytes: int


class Measured(Record):
    """Accuracy, costs and memory on the continuous test part of a session."""

    monkey: str
    test_steps: int
    verified_steps: int
    """Of these, how many NeuroBench itself evaluated, with equal results."""
    parameters: int
    r2: float
    r2_x: float
    r2_y: float
    silenced: dict[str, float] = Field(default_factory=dict)
    """R2 when an area's spikes are set to zero, by area; of decoders that read several."""
    footprint: int
    """Bytes as NeuroBench counts them: all parameters and registered buffers."""
    connection_sparsity: float
    activation_sparsity: float
    dense: float
    """Operations per 4 ms step, as are the effective ones."""
    macs: float
    acs: float
    weights_bytes: int
    """Bytes where deployed, at the bit widths of the formats; see `footprint.deployment`."""
    buffers_bytes: int
    states_bytes: int
    deployment_bytes: int
    weight_format: Format
    buffer_format: Format
    parts: tuple[Part, ...]


class Provenance(BaseModel):
    """As of `provenance.provenance`, of which tables print the commit."""

    model_config = ConfigDict(extra="allow")

    commit: str | None
    dirty: bool | None


class Metrics(Measured):
    """The content of ``metrics.json``: a measurement and where it comes from."""

    source: str
    """zenodo, local or synthetic: where the recording is from."""
    provenance: Provenance


class Realtime(Record):
    """The content of ``realtime.json``: the decoder bin by bin, as on a patient."""

    lookahead_declared: int
    """Steps of future input a prediction depends on."""
    lookahead_measured: int
    stream_max_error: float
    """Largest difference of stream and batch in session units per step, where both agree."""
    stream_diverged: float
    """Share of segments in which a spiking decoder's stream and batch part ways."""
    latency_ms: float
    execution_rate_hz: float
    realtime: bool
    """By the rule of Krausse et al. 2025: at most 100 ms, at least 10 Hz."""
    stream_buffer_bytes: int
    """Kept between bins: buffers and states."""
    median_us: float
    """Wall time per bin; it enters no table, so that tables are repeatable to the byte."""
    p99_us: float


class Control(BaseModel):
    """How well a simulated user controls the cursor, over trials; None where no trial says it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: str
    """random or centre-out."""
    feedback: str
    """What S1 hears of: moving (the arm), silent, seen (the cursor)."""
    added_delay_ms: float
    trials: int
    success_rate: float
    time_to_target_s: float | None
    """Median over successful trials, from the target's appearance to the end of the dwell."""
    dial_in_s: float | None
    """Median over successful trials of the time from the first contact with the target to the last
    entry (Gilja et al. 2012)."""
    path_efficiency: float | None
    """Median over successful trials: the straight way to the last entry, over the cursor's."""
    throughput_bit_s: float
    """Sum of the indices of difficulty of successful trials, ``log2(1 + distance / width)``
    (Fitts' law as in ISO 9241-411), over the time of all trials."""


class Recalibrated(Control):
    """Control of random targets with a moving arm, of a decoder trained further in the loop."""

    gain: float
    """Its own, as that of any decoder."""


class Loop(Record):
    """The content of ``loop.json``: a decoder in the hands of a simulated user."""

    gain: float
    """Factor of its velocities, fitted on the training part."""
    lookahead_ms: float
    controls: tuple[Control, ...]
    recalibrated: Recalibrated | None = None
    """With the targets and the noise of ``controls``; None: the arm, or not asked for."""
    provenance: Provenance
