"""The configuration: one pydantic model per block of ``config.yaml``; unknown keys are refused.

A *system* is one row of a table: an architecture with its sizes, the cortex areas it
reads, how it is trained and how it is compressed. Everything else in the configuration
says on which sessions and seeds the systems run.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)

from spikereach.config import default
from spikereach.config.architectures import ARCHITECTURES, locate, sizes_of
from spikereach.config.errors import ConfigError
from spikereach.config.hints import NOTHING, hint, numbers_as_text
from spikereach.config.nearest import nearest
from spikereach.config.overlays import overlay, told_once, written_out
from spikereach.config.paths import put
from spikereach.config.sessions import AREA, AREA_LENGTH, PAPER_AREAS, find, unfolded

# Names become folder names and wildcards: letters, digits, "_", "." and "-", no leading dot. They
# may stand in a shell without quotes, and are short enough for a file with an ending.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=100)]
# Names of areas are the user's, and stand in tables and messages only.
Area = Annotated[str, Field(pattern=f"^{AREA}$", max_length=AREA_LENGTH)]
Table = Literal[
    "coopt",
    "r2",
    "realtime",
    "per_session",
    "cost",
    "comparisons",
    "hyperparameters",
    "imported",
    "deployment",
    "closed_loop",
    "blocked",
    "frontier",
]
Ablation = Literal["cortex", "fusion", "compression", "latency"]
#: Systems with published weights: the keys of published/weights.json.
WEIGHTS = ("ANN2", "ANN3", "SNN2", "SNN3", "tinyRSNN")
Architecture = Annotated[str, AfterValidator(lambda name: locate(name) and name)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


class Nwb(Model):
    """How a session is read from an NWB file (`spikereach.data.nwb`)."""

    behaviour: str | None = Field(
        None,
        min_length=1,
        description="the time series that is decoded, by its name or the end of its path, such as "
        "Position/cursor_pos; null: cursor_pos, hand_pos, finger_pos, cursor_vel, hand_vel or "
        "finger_vel, the first that is there, or else the only SpatialSeries",
    )
    columns: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        (0, 1), description="columns of x and y in it, counted from 0"
    )
    kind: Literal["position", "velocity"] | None = Field(
        None, description="what it is; null: as its unit says (a length per time is a velocity)"
    )
    target: str | None = Field(
        "target_pos",
        min_length=1,
        description="the time series of targets, whose changes begin segments; where it is absent "
        "or null, trials begin them, and without trials every second does",
    )
    channels: Literal["electrodes", "units"] | None = Field(
        None,
        description="electrodes: every electrode is a channel, all its units joined; units: every "
        "unit is one; null: electrodes where units name theirs",
    )
    locations: dict[str, Area] = Field(
        {},
        description="area of each location of electrodes in the file, `*` for all others; a "
        "location with the name of an area in it needs no entry",
    )


class SessionEntry(Model):
    """A recording session outside the Zenodo catalogue."""

    monkey: Name
    areas: dict[Area, Annotated[int, Field(gt=0)]] = Field(
        min_length=1,
        description="channels per cortex area, in the order in which they lie in the file; an area "
        "has any name, spaces within, without `=` and `,`",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="source local: the recording in `folder`, or an absolute path; null: NAME.mat "
        "or NAME.nwb",
    )
    nwb: Nwb = Nwb()


class Synthetic(Model):
    """The embedded synthetic sessions (`data.synthetic`)."""

    duration_s: Positive = Field(description="length of every synthetic session in seconds")
    seed: int = Field(description="seed of the generator; each session adds its own name to it")


class Download(Model):
    """How session files are fetched from Zenodo."""

    record: str = Field(description="address of the record's metadata (JSON)")
    retries: int = Field(
        ge=0, description="further tries per file after the first, all again when more of it came"
    )
    backoff_s: Positive = Field(description="wait before the first retry; doubles with each one")
    timeout_s: Positive = Field(description="longest silence of the server")


class Penalties(Model):
    """Weights of the regularisers added to the loss (`training.losses`); 0 switches one off."""

    spike_sum: float = Field(0.0, ge=0, description="times the sum of all hidden spikes")
    weight_l1: float = Field(0.0, ge=0, description="times the sum of all |weights|")
    spike_floor: float = Field(
        0.0, ge=0, description="times mean(relu(1e-3 - count)^2) over units, per window"
    )
    spike_ceiling: float = Field(
        0.0, ge=0, description="times mean(relu(mean count - 10)^2), counts per window"
    )


class Stage(Model):
    """One training run: pretraining on all sessions of a monkey, or fine-tuning on one."""

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1, description="windows per update")
    window: int = Field(ge=1, description="window length in steps of 4 ms")
    stride: int = Field(ge=1, description="steps between the starts of windows")
    placement: Literal["every", "tiled"] = Field(
        "every",
        description="every: a window at each multiple of the stride. tiled: for each such offset "
        "below the window length, the part is cut into windows end to end, and the last piece of "
        "each offset is dropped (Liu et al. 2024)",
    )
    part: Literal["train", "train+val"] = Field("train", description="of the split, trained on")
    last_batch: Literal["keep", "drop"] = Field(
        "keep", description="what becomes of an incomplete one at the end of an epoch"
    )
    updates_per_epoch: int | None = Field(
        None, ge=1, description="windows drawn at random per epoch = this times batch; null: all"
    )
    optimiser: Literal["adam", "adamw", "smorms3"]
    learning_rate: Positive
    weight_decay: float = Field(0.0, ge=0, description="decoupled with adamw, L2 with adam")
    schedule: Literal["constant", "cosine"]
    cosine_epochs: int | None = Field(
        None, ge=1, description="after which the cosine would reach zero; null: `epochs`"
    )
    loss: Literal["mse", "rmse"]
    loss_weight: Positive = Field(1.0, description="factor of the loss, beside other terms")
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm; null: no limit")
    validate_on: Literal["stream", "windows"] = Field(
        "stream",
        alias="validate",  # a name that pydantic keeps for itself
        description="stream: the validation part as one continuous stream, like the test part. "
        "windows: mean over batches of windows of it, cut as in training",
    )
    validation_stride: int | None = Field(
        None, ge=1, description="between windows of the validation part; null: `stride`"
    )
    select: Literal["best_r2", "best_loss", "last"] = Field(
        "best_r2", description="whose weights are kept: of the best validation epoch, or the last"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="epochs without a better one by `select` before stopping; null: never",
    )
    penalties: Penalties = Penalties()

    @model_validator(mode="after")
    def _consistent(self):
        if self.placement == "tiled":
            for key in ("stride", "validation_stride"):
                if self.window % (getattr(self, key) or self.stride):
                    raise ValueError(f"placement `tiled` needs a `{key}` that divides `window`")
        if self.patience is not None and self.select == "last":
            raise ValueError("`patience` needs `select: best_r2` or `best_loss`")
        if self.cosine_epochs is not None and (
            self.schedule != "cosine" or self.cosine_epochs < self.epochs
        ):
            raise ValueError("`cosine_epochs` needs `schedule: cosine` and at least `epochs`")
        return self


class Training(Model):
    """How a system is trained."""

    split: Literal["neurobench", "liu2024"] = Field(
        description="neurobench: 50/25/25 of the segments in time order; liu2024: the same test "
        "part, the steps before it 61.7 to 13.3"
    )
    standardise: bool = Field(description="train on standardised velocities (training part only)")
    pretrain: Stage | None = Field(description="on all sessions of the monkey; null: from scratch")
    finetune: Stage | None = Field(description="on one session; null only for closed-form decoders")


ScaledBits = Annotated[int, Field(ge=2, le=8)]
NumberFormat = Literal["float32", "float16"] | tuple[int, int] | ScaledBits
"""A pair is fixed point: integer and fractional bits, sign bit extra. A number alone is all bits of
whole numbers that each matrix of weights multiplies by a power of two of its own."""


class Step(Model):
    """One step of a compression: `spikereach.compression.<kind>` does what it says."""

    formats: ClassVar[tuple[NumberFormat, NumberFormat] | None] = None
    """Of weights and buffers after it, where it quantises: then it is the last step."""
    listed: ClassVar[dict[str, Any]] = {}
    """Beside the formats, what a table of hyperparameters says of it."""

    @property
    def retrainings(self) -> list[Stage]:
        """Every training that it may take: one where it has a ``retrain``."""
        return [self.retrain] if hasattr(self, "retrain") else []


class Prune(Step):
    """Iterative magnitude pruning with retraining (Liu et al. 2024)."""

    kind: Literal["prune"]
    scope: Literal["matrix", "global"] = Field(
        "matrix", description="the smallest weights of each matrix, or of all matrices together"
    )
    start: Fraction = Field(description="first sparsity")
    step: Fraction = Field(description="added sparsity per iteration while R2 holds")
    fine_step: Fraction = Field(description="added sparsity after the first step that was too far")
    stop: Fraction = Field(description="highest sparsity tried")
    max_drop: Fraction | None = Field(
        description="largest accepted relative drop of the training R2; null: any"
    )
    retrain: Stage

    @model_validator(mode="after")
    def _ordered(self):
        if self.start > self.stop:
            raise ValueError(
                f"start is {self.start:g} and stop {self.stop:g}: nothing would be pruned; give a "
                "start of at most stop"
            )
        return self

    @property
    def retrainings(self) -> list[Stage]:
        """At all coarse sparsities, and where the last goes too far, at the fine ones before it."""
        coarse = fine = 0
        if self.step:
            coarse = math.floor((self.stop - self.start) / self.step + 1e-6)
            fine = round(self.step / self.fine_step) - 1 if self.fine_step else 0
        return [self.retrain] * (1 + coarse + fine)

    @property
    def listed(self) -> dict[str, Any]:
        return {"pruning": f"{self.start:g} to {self.stop:g}", "largest drop": self.max_drop}


def _either(value: Any, check: Callable[[Any], Any]) -> Any:
    """Bits of weights; one sentence on both ways to give them where they are neither."""
    try:
        return check(value)
    except ValidationError:
        raise ValueError(
            "give integer and fractional bits, such as [1, 6], or all bits as one number, 2 to 8"
        ) from None


class FixedPoint(Step):
    """Quantisation-aware fine-tuning with fixed-point weights and buffers (Krausse et al. 2025)."""

    kind: Literal["fixed_point"]
    weight_bits: Annotated[tuple[int, int] | ScaledBits, WrapValidator(_either)] = Field(
        description="integer and fractional bits, sign bit extra; or all bits as one number, 2 is "
        "ternary: then weights are whole numbers, each matrix has a power of two as its scale, and "
        "biases and neurons' constants have the bits of buffers"
    )
    buffer_bits: tuple[int, int] | None = Field(
        description="integer and fractional bits, sign bit extra; null: half precision"
    )
    retrain: Stage

    @property
    def formats(self) -> tuple[NumberFormat, NumberFormat]:
        return self.weight_bits, self.buffer_bits or "float16"

    @model_validator(mode="after")
    def _constants_fit(self):
        if isinstance(self.weight_bits, int) and self.buffer_bits is None:
            raise ValueError(
                f"`weight_bits: {self.weight_bits}` needs `buffer_bits`, which neurons' constants "
                "share, such as [2, 9]"
            )
        return self

    @property
    def listed(self) -> dict[str, Any]:
        return {"quantised epochs": self.retrain.epochs}


class Half(Step):
    """Half precision (IEEE 754 binary16) weights and buffers."""

    kind: Literal["half"]
    formats: ClassVar = ("float16", "float16")


class Retrain(Step):
    """Fine-tuning with further penalties (spike and weight regularisation)."""

    kind: Literal["retrain"]
    retrain: Stage

    @property
    def listed(self) -> dict[str, Any]:
        penalties = self.retrain.penalties.model_dump()
        set_ones = {key: value for key, value in penalties.items() if value}
        return {"retraining epochs": self.retrain.epochs} | set_ones


Compression = Annotated[Prune | FixedPoint | Half | Retrain, Field(discriminator="kind")]


class System(Model):
    """One row of the tables."""

    architecture: Architecture = Field(
        description="a name in spikereach.models.zoo, or a dotted path package.module:Class"
    )
    sizes: dict[str, Any] = Field(description="keyword arguments of the architecture")
    areas: tuple[Area, ...] | None = Field(
        None,
        min_length=1,
        description="cortex areas read, where the session has them; null: all that it has",
    )
    spiking: bool = Field(description="for the table's column")
    training: Training | None = Field(
        None, description="left out when `base` or `weights` is given"
    )
    base: Name | None = Field(None, description="start from this system's trained checkpoint")
    weights: Literal["published"] | None = Field(
        None, description="published: no training, the weights published for the row `published`"
    )
    compression: tuple[Compression, ...] = ()
    published: Name | None = Field(
        None, description="row of the published figures to print beside; null: none"
    )

    @model_validator(mode="after")
    def _fits_together(self):
        for key, value in self.sizes.items() if self.architecture in ARCHITECTURES else ():
            if key not in (known := sizes_of(self.architecture)):
                raise ValueError(
                    f"{self.architecture} has no size {key!r}; {nearest(key, sorted(known))}"
                )
            for text, number in numbers_as_text(value):
                raise ValueError(
                    f"sizes.{key}: {text!r} is text: write {number} in a YAML file, unquoted"
                )
        if [self.training, self.base, self.weights].count(None) != 2:
            raise ValueError(
                "give exactly one of `training`, `base` and `weights`; null takes away what `like` "
                "brings"
            )
        if self.weights and (self.compression or not self.published):
            raise ValueError(
                "a system with published `weights` has no `compression`; `published`, which `like` "
                "does not bring, names them"
            )
        if self.weights and self.published not in WEIGHTS:
            raise ValueError(
                f"no published weights for {self.published!r}; there are some for "
                f"{', '.join(WEIGHTS)}"
            )
        for step, later in pairwise(self.compression):
            if step.formats is not None:
                raise ValueError(
                    f"`{later.kind}` would leave the numbers that `{step.kind}` rounded to: put it "
                    f"before `{step.kind}`"
                )
        return self


class Like(Model):
    """A system that is like another one, with changes. The entry may have any keys of a System.
    They are laid over the other's as an overlay is over `config.yaml`: mappings key by key, lists
    and all other values whole. `published` is not taken over, what overlays make of the other is.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"propertyNames": {"enum": ["like", *System.model_fields]}},
    )
    like: Name = Field(description="another system, which may be like a third")


class Evaluation(Model):
    neurobench_steps: int | None = Field(
        ge=1, description="test steps NeuroBench itself evaluates; null: the whole test split"
    )
    stream_steps: int = Field(ge=1, description="test bins streamed one by one")


class Blocked(Model):
    """Cross-validation over blocks in time, for the table of that name."""

    folds: int = Field(
        ge=3,
        description="blocks of equally many segments; each is tested on once, the one before it "
        "is for validation, the others are for training",
    )
    gap_s: float = Field(
        ge=0, description="seconds beside the tested block, on either side, that are in no part"
    )


class Firmware(Model):
    """Fixed-point decoders as programs of microcontrollers, which QEMU emulates."""

    bins: int = Field(ge=1, description="of the test part, decoded on each microcontroller")
    clock_hz: Positive = Field(description="of the microcontroller whose load is given")


class Recalibration(Model):
    """Further training of decoders on what a user did with them (Gilja et al. 2012)."""

    systems: tuple[Name, ...] = Field(
        min_length=1, description="of the table's decoders, those played before and after it"
    )
    trials: int = Field(
        ge=4, description="targets played for it, other ones than those that decoders are judged by"
    )
    stage: Stage = Field(description="of the training; decoders in closed form are fitted anew")


class ClosedLoop(Model):
    """Simulated users who control a cursor through decoders: docs/closed-loop.md."""

    trials: int = Field(ge=1, description="targets per decoder and condition")
    delayed: Name = Field(description="the system whose output is delayed, too")
    added_delays_ms: tuple[Annotated[int, Field(ge=0, multiple_of=4)], ...] = Field(
        description="by which its output is delayed"
    )
    recalibration: Recalibration | None = Field(
        description="decoders that are trained further in the loop; null: none"
    )


class Trajectory(Model):
    """The figure of decoded movement: a stretch of the test part of each session."""

    systems: tuple[Name, ...] = Field(min_length=1, description="decoders drawn, in order")
    start_s: float = Field(ge=0, description="seconds after the start of the test part")
    duration_s: Positive


class Variant(Model):
    """One bar or point of an ablation."""

    label: str = Field(
        description="cortex: as in the paper's figure 5; latency: what stands beside the point; "
        "else: what is new"
    )
    system: Name


class Parameter(Model):
    """A hyperparameter that the search varies: within a range, or one of `choices`."""

    paths: tuple[str, ...] = Field(
        min_length=1,
        description="dotted keys of the system that take the value; entries of lists have numbers, "
        "from 0, as in compression.1.weight_bits",
    )
    low: int | float | None = Field(
        None, description="whole numbers where this and `high` are whole, else any number"
    )
    high: int | float | None = None
    step: int = Field(1, ge=1, description="between whole numbers")
    log: bool = Field(False, description="drawn evenly on a logarithmic scale")
    choices: tuple[bool | int | float | str, ...] | None = Field(
        None, min_length=2, description="in place of a range"
    )

    @model_validator(mode="after")
    def _consistent(self):
        if self.choices is not None:
            if (self.low, self.high, self.step, self.log) != (None, None, 1, False):
                raise ValueError("`choices` stand in place of `low`, `high`, `step` and `log`")
            if len(set(self.choices)) < len(self.choices):
                raise ValueError(f"`choices` has a value twice: {list(self.choices)}")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give `low` and `high`, or `choices`")
        if self.high < self.low or (self.whole and (self.high - self.low) % self.step):
            raise ValueError(
                f"`high` ({self.high}) must be `low` ({self.low}) and a multiple of `step`"
            )
        if self.step != 1 and (self.log or not self.whole):
            raise ValueError("`step` is for whole numbers without `log`")
        if self.log and self.low <= 0:
            raise ValueError(f"`log` needs a `low` above 0, not {self.low}")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def distribution(self) -> Any:
        """Of values, as Optuna has it."""
        from optuna import distributions  # slow

        if self.choices is not None:
            return distributions.CategoricalDistribution(self.choices)
        if self.whole:
            return distributions.IntDistribution(self.low, self.high, self.log, self.step)
        return distributions.FloatDistribution(self.low, self.high, self.log)


Objective = Literal["r2", "bytes", "energy", "latency"]
OBJECTIVES: dict[Objective, str] = {
    "r2": "r2",
    "bytes": "deployment_bytes",
    "energy": "energy_nj",
    "latency": "latency_ms",
}
"""What a trial calls each objective; all but R2 are costs."""


class Search(Model):
    """Hyperparameter search (`spikereach.workflow.search`): a study of its own."""

    system: Name = Field(description="whose fine-tuning and compression every trial has")
    session: Name
    objectives: tuple[Objective, ...] = Field(
        ("r2",),
        description="r2 (validation part), and costs: deployed bytes, energy per step, latency",
    )
    seed: int = Field(ge=0)
    trials: int = Field(ge=2)
    parallel: int = Field(
        ge=1,
        description="trials at a time: trial n knows the outcomes of the trials up to n - parallel",
    )
    startup_trials: int = Field(
        ge=1, description="outcomes to wait for before values are chosen and trials are pruned"
    )
    warmup_epochs: int = Field(ge=0, description="epochs of a trial before it may be pruned")
    space: dict[Name, Parameter] = Field(min_length=1)

    @model_validator(mode="after")
    def _accurate(self):
        if "r2" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("`objectives` needs `r2`, and has none twice")
        paths = [path for parameter in self.space.values() for path in parameter.paths]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"space: {path} is listed twice; it takes one value: name it once")
        return self

    def configured(self, system: System, values: dict[str, Any]) -> System:
        """The system with these values of parameters in `space`.

        A path into a part that is null, such as a pretraining, is passed over.

        Raises:
            ValueError: a path that does not exist, a parameter all of whose paths are passed over,
                or a value that is refused there.
        """
        entry = system.model_dump(mode="json")
        known = system.architecture in ARCHITECTURES
        further = {"sizes": sizes_of(system.architecture)} if known else {}  # also those left out
        for name, value in values.items():
            paths = self.space[name].paths
            try:
                taken = [put(entry, path, value, further) for path in paths]
            except ValueError as error:
                raise ValueError(f"space.{name}: {self.system} {error}") from None
            if not any(taken):
                raise ValueError(
                    f"space.{name}: nothing takes the value: in {self.system}, what "
                    f"{' and '.join(paths)} would change is null; leave the parameter out"
                )
        return System.model_validate(entry)


def _given(searches: Any) -> Any:
    """Without those that are null: an overlay can take none away."""
    if isinstance(searches, dict):
        return {name: each for name, each in searches.items() if each is not None}
    return {} if searches is None else searches


class Config(Model):
    """The whole of ``config.yaml``."""

    source: Literal["zenodo", "local", "synthetic"]
    folder: str | None = Field(description="source local: the folder of session files")
    weights_folder: str | None = Field(
        description="a folder with files of published weights, by any name; null: downloaded"
    )
    download: Download
    synthetic: Synthetic
    catalogue: dict[Name, SessionEntry] = Field(
        description="sessions that are neither on Zenodo nor synthetic"
    )
    remark: str | None = Field(
        description="what a reader of this run's tables and figures must know, such as that "
        "budgets were cut; stands under every table"
    )
    sessions: tuple[Name, ...] = Field(min_length=1, description="sessions evaluated")
    pretrain_sessions: dict[Name, tuple[Name, ...]] = Field(
        description="per monkey, the sessions it is pretrained on; a monkey without an entry is "
        "not pretrained"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    device: Literal["auto", "cpu", "cuda"]
    threads: int = Field(ge=1, description="CPU threads of a training or evaluation")
    jobs_per_gpu: int = Field(ge=1, description="trainings that may share one GPU")
    progress: bool = Field(description="progress bars in the logs")
    events: bool = Field(description="TensorBoard event files of each training")
    evaluation: Evaluation
    tables: dict[Table, tuple[Name, ...]] = Field(
        description="systems in each table, in order; a table without systems is not written"
    )
    blocked: Blocked
    firmware: Firmware | None = Field(
        description="null: no firmware is measured, as where compilers or emulators are absent"
    )
    closed_loop: ClosedLoop | None = Field(
        description="on synthetic sessions only, whose brains can be driven; null: none"
    )
    trajectory: Trajectory
    ablations: dict[Ablation, tuple[Variant, ...]] = Field(
        description="variants in order; cortex and fusion: on the sessions with all areas that "
        "they read; an ablation without variants is left out"
    )
    search: Annotated[
        dict[Name, Search],
        BeforeValidator(_given, json_schema_input_type=dict[Name, Search | None] | None),
    ] = Field(description="hyperparameter searches by name; null: none, or not that one")
    systems: Annotated[
        dict[Name, System],
        BeforeValidator(written_out, json_schema_input_type=dict[Name, System | Like]),
    ]

    @model_validator(mode="after")
    def _sessions_exist(self):
        searched = [each.session for each in self.search.values()]
        for name in [*self.catalogue, *self.sessions, *searched]:
            find(name, self.catalogue)
        for monkey, names in self.pretrain_sessions.items():
            for name in names:
                if (found := find(name, self.catalogue).monkey) != monkey:
                    raise ValueError(f"pretrain_sessions.{monkey}: {name} is a session of {found}")
        return self

    @model_validator(mode="after")
    def _references_exist(self):
        lists = {f"tables.{table}": names for table, names in self.tables.items()}
        lists["trajectory.systems"] = self.trajectory.systems
        if self.closed_loop is not None:
            lists["closed_loop.delayed"] = (self.closed_loop.delayed,)
            if (recalibration := self.closed_loop.recalibration) is not None:
                lists["closed_loop.recalibration.systems"] = recalibration.systems
        lists |= {
            f"ablations.{key}": [v.system for v in each] for key, each in self.ablations.items()
        }
        searches = self.search.items()
        lists |= {f"search.{key}.system": (each.system,) for key, each in searches}
        for key, names in lists.items():
            for name in names:
                if name not in self.systems:
                    raise ValueError(
                        f"{key} names the system {name!r}, which `systems` lacks; "
                        f"{nearest(name, self.systems)}"
                    )
        recorded = [area for entry in self.catalogue.values() for area in entry.areas]
        areas = dict.fromkeys([*PAPER_AREAS, *recorded])
        for name, system in self.systems.items():
            for area in system.areas or ():
                if area not in areas:
                    raise ValueError(
                        f"systems.{name}.areas: no session has the area {area!r}; there are "
                        f"{', '.join(areas)}, and more are named under `catalogue`"
                    )
            if system.base is not None and system.base not in self.systems:
                raise ValueError(
                    f"systems.{name}.base: no system {system.base!r}; "
                    f"{nearest(system.base, self.systems.keys() - {name})}"
                )
            if system.base is not None and self.systems[system.base].training is None:
                raise ValueError(f"systems.{name}.base: {system.base!r} has no `training` itself")
            for key in ("architecture", "sizes", "areas") if system.base is not None else ():
                if getattr(system, key) != getattr(self.systems[system.base], key):
                    raise ValueError(
                        f"systems.{name}.{key}: is other than that of its base {system.base!r}, "
                        f"whose weights it starts from; change it there, or name another base"
                    )
        for name in self.tables.get("imported", ()):
            if self.systems[name].weights is None:
                raise ValueError(f"tables.imported: systems.{name} has no published `weights`")
        for name in self.tables.get("blocked", ()):
            if self.systems[name].weights is not None:
                raise ValueError(
                    f"tables.blocked: systems.{name} has published `weights`, which cannot be "
                    "trained on other parts of a session; leave it out"
                )
        for key in ("catalogue", "pretrain_sessions"):
            for name in getattr(self, key):
                if unfolded(name) != (name, None):
                    raise ValueError(f"{key}.{name}: folds have names that end so; rename it")
        for name in self.catalogue.keys() & self.pretrain_sessions.keys():
            raise ValueError(
                f"catalogue.{name}: a monkey of `pretrain_sessions` has the same name, and both "
                "would be trained into one folder; rename the session"
            )
        for key, values in {"sessions": self.sessions, "seeds": self.seeds}.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{key} has a value twice: {list(values)}")
        for key, search in searches:
            found = self.systems[search.system]
            if found.training is None or found.training.finetune is None:
                raise ValueError(
                    f"search.{key}.system: {search.system!r} has no fine-tuning itself"
                )
            stages = [found.training.finetune]
            stages += [stage for step in found.compression for stage in step.retrainings]
            if any(stage.part != "train" for stage in stages):
                raise ValueError(
                    f"search.{key}.system: {search.system!r} has a recipe with part: train+val, "
                    "which learns from the validation part that judges trials; search a system "
                    "like it with part: train"
                )
            tried = {name: p.choices or (p.low, p.high) for name, p in search.space.items()}
            for row in range(max(map(len, tried.values()))):
                values = {name: each[min(row, len(each) - 1)] for name, each in tried.items()}
                try:
                    search.configured(found, values)
                except ValidationError as error:
                    wrong, *_ = error.errors()
                    where = ".".join(map(str, wrong["loc"]))
                    what = wrong["msg"].removeprefix("Value error, ")
                    text = f"{where}: {what} (got {wrong['input']!r})" if where else what
                    raise ValueError(f"search.{key}.space: {text}") from None
                except ValueError as error:
                    raise ValueError(f"search.{key}.{error}") from None
        if self.source == "local" and not self.folder:
            raise ValueError(
                "source is local but `folder` is not set: write folder: PATH/TO/FILES into a YAML "
                "file, or give Snakemake --config folder=PATH/TO/FILES"
            )
        for key in ("folder", "weights_folder"):
            if (text := getattr(self, key)) is not None and text.strip() in NOTHING:
                raise ValueError(
                    f"{key}: {text!r} is text: write {key}: null in a YAML file, or --config {key}="
                )
        places = {"folder": self.folder}
        places |= {f"catalogue.{name}.file": each.file for name, each in self.catalogue.items()}
        for key, place in places.items():
            if place and set(place) & set("{}"):
                raise ValueError(
                    f"{key}: {place} has braces, which Snakemake takes for wildcards; rename it"
                )
        return self


def validate(raw: dict) -> Config:
    """Check a configuration as YAML gives it.

    Raises:
        ConfigError: with one line per wrong key: its dotted path, the value, what is expected.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = []
        problems = error.errors()
        within = {problem["loc"][:-1] for problem in problems}
        for problem in told_once(problems, raw.get("systems")):
            if problem["type"] == "too_short" and problem["loc"] in within:
                continue  # its items are refused, as is told
            where = ".".join(map(str, problem["loc"])) or "configuration"
            value = problem["input"]
            shown = "" if isinstance(value, dict) else f" (got {value!r})"
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = "no such key"
            remedy = hint(problem, Config, raw)
            lines.append(f"{where}: {message}{shown}" + (f"; {remedy}" if remedy else ""))
        raise ConfigError("the configuration is wrong:\n  " + "\n  ".join(lines)) from None


def read(*paths: str | Path) -> Config:
    """Read YAML files, each laid over the one before it, and validate the result.

    Without any, ``config.yaml``: that of the current folder or, where it has none, the one that
    came with spikereach, which is the paper's. An overlay may be laid over that one by its name.

    Raises:
        ConfigError: a file is missing or no YAML, or the configuration is wrong (`validate`).
    """
    merged: dict = {}
    first, *_ = paths = paths or (default.NAME,)
    for path in map(default.found, paths):
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the YAML file in it")
        if not path.is_file():
            key, _, value = str(path).partition("=")
            remedy = f"write {key}: {value} into one and give it" if value else "give one"
            raise ConfigError(f"{path}: no such file; {remedy} by --config YAML")
        try:
            loaded = yaml.safe_load(path.read_bytes())
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML: {error}") from None
        except ValueError as error:  # such as a date of month 13
            raise ConfigError(
                f"{path}: a value that looks like a date or number is none ({error}); quote it"
            ) from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"{path}: expected a mapping of keys")
        merged = overlay(merged, loaded)
    lacking = [key for key in Config.model_fields if key not in merged]
    if 2 * len(lacking) > len(Config.model_fields):
        if Path(first) == Path(default.NAME):
            remedy = f"if it is another program's, give --config {default.installed()}"
        else:
            remedy = (
                "an overlay stands after what it is laid over: --config config.yaml "
                f"--config {first}"
            )
        raise ConfigError(
            f"{first}: {len(lacking)} keys are missing, such as {lacking[0]}; {remedy}"
        )
    return validate(merged)
