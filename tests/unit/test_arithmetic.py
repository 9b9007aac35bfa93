"""What a training on CUDA computes with, tested on the CPU: mixed precision, and repeatability.

The CPU's autocast takes the place of CUDA's, and the modules and loops of the reference that of
what is compiled for the CPU.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spikereach import config
from spikereach.models import snn3, zoo
from spikereach.ops.common import backends
from spikereach.ops.common.record import Record
from spikereach.ops.current_lif import reference as current_lif
from spikereach.ops.gru import reference as gru
from spikereach.ops.integrator import reference as integrator
from spikereach.ops.lif import reference as lif
from spikereach.ops.spiking_gru import reference as spiking_gru
from spikereach.training import arithmetic, loop
from training_cases import fit_tiny

SYSTEMS = config.read(Path(__file__).resolve().parents[2] / "config.yaml").systems
TRAINED = [n for n, s in SYSTEMS.items() if s.training is not None and s.training.finetune]
WINDOWS = {"gru": 1024, "sgru": 1024, "lif": 1024, "aegru": 100}
"""The lengths that an architecture asks for; others take any."""
AREAS = ["M1"] * 12 + ["S1"] * 12
BATCH = 8

# ---- Mixed precision ------------------------------------------------------------------------

OVER_TIME = [
    (lif, "lif"),
    (current_lif, "current_lif"),
    (gru, "gru"),
    (spiking_gru, "spiking_gru"),
    (integrator, "integrator"),
    (integrator, "current_integrator"),
    (snn3, "lif_step"),
]


class Update(NamedTuple):
    prediction: Tensor
    target: Tensor
    record: Record
    gradients: dict[str, Tensor]


def update(name: str, mixed: bool) -> Update:
    """The first update of a system by its recipe, on few and random windows."""
    system, stage = SYSTEMS[name], SYSTEMS[name].training.finetune
    torch.manual_seed(0)
    decoder = zoo.build(system, len(AREAS), areas=AREAS)
    rates = torch.full((len(AREAS),), 12.5)
    decoder.initialise(rates, torch.Generator().manual_seed(0))
    decoder.train()
    generator = torch.Generator().manual_seed(1)
    shape = WINDOWS.get(system.architecture, 256), BATCH
    spikes = (torch.rand(*shape, len(AREAS), generator=generator) < 0.05).byte()
    target = torch.randn(*shape, 2, generator=generator)
    optimiser = torch.optim.SGD(decoder.parameters(), lr=0.0)
    torch.manual_seed(2)
    with pytest.MonkeyPatch.context() as patch, backends.only("reference"):
        cast = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
        patch.setattr(loop, "mixed", lambda device: cast)
        compared = loop.step(decoder, optimiser, stage, spikes, target)
    named = decoder.named_parameters()
    return Update(*compared, {n: p.grad for n, p in named if p.grad is not None})


@pytest.mark.parametrize("name", TRAINED)
def test_states_and_gradients_stay_in_float32(name, monkeypatch):
    seen = []

    def told(function):
        def run(*arguments, **options):
            found = function(*arguments, **options)
            seen.extend(leaf.dtype for leaf in tree_leaves(found))
            return found

        return run

    for module, function in OVER_TIME:
        monkeypatch.setattr(module, function, told(getattr(module, function)))
    done = update(name, mixed=True)
    without = SYSTEMS[name].architecture in ("ann2", "ann3", "aegru") or name == "minGRU"
    assert bool(seen) != without
    tensors = [*done.record.spikes.values(), *done.record.losses.values(), done.prediction]
    assert {*seen, *(t.dtype for t in tensors)} == {torch.float32}
    assert {g.dtype for g in done.gradients.values()} == {torch.float32}
    assert all(g.isfinite().all() for g in done.gradients.values())


def test_the_state_of_aegru_stays_in_float32():
    """Its cell is called as a module."""
    seen = []

    def note(module, inputs, output):
        if isinstance(module, torch.nn.GRUCell | torch.nn.LayerNorm):
            seen.extend(each.dtype for each in (*inputs, output))

    with torch.nn.modules.module.register_module_forward_hook(note):
        update("AEGRU", mixed=True)
    assert len(seen) == 5 * (3 + 2)
    assert set(seen) == {torch.float32}


def distance(ours: Tensor, other: Tensor) -> float:
    return ((ours - other).norm() / other.norm()).item()


# Rounding of what arrives tips membranes over their thresholds. Where spikes are fed by spikes, or
# decide on a state that stays, those that differ grow in number, and gradients through time with
# them: those of an sGRU are no nearer than of another draw.
LOSSES = {"sgru": 0.03}
SPIKES = {"sgru": 0.08, "hybrid": 0.08, "recursive": 0.08}
GRADIENTS = {"sgru": None, "hybrid": 1.0, "recursive": 1.0, "lif": 0.25}


@pytest.mark.parametrize("name", TRAINED)
def test_an_update_in_mixed_precision_is_near_that_in_float32(name):
    """Losses by 1 %; spikes in 2 % of the steps, and gradients by 15 % of their norm, but for the
    architectures above."""
    architecture = SYSTEMS[name].architecture
    ours, other = (update(name, mixed) for mixed in (True, False))
    losses = [(u.prediction - u.target).square().mean().item() for u in (ours, other)]
    assert losses[0] == pytest.approx(losses[1], rel=LOSSES.get(architecture, 0.01))
    for layer, spikes in other.record.spikes.items():
        differing = (spikes != ours.record.spikes[layer]).float().mean().item()
        assert differing <= SPIKES.get(architecture, 0.02)
    assert ours.gradients.keys() == other.gradients.keys()
    both = [torch.cat([g.flatten() for g in u.gradients.values()]) for u in (ours, other)]
    if (limit := GRADIENTS.get(architecture, 0.15)) is not None:
        assert distance(*both) <= limit


# ---- Repeatability --------------------------------------------------------------------------

CUDA = torch.device("cuda")


def settings():
    found = {name: getattr(owner, name) for owner, name, _ in arithmetic.SETTINGS}
    return found | {"strict": torch.are_deterministic_algorithms_enabled()}


@pytest.fixture
def no_cuda(monkeypatch):
    """Nothing asks a GPU for its random state."""
    monkeypatch.delenv(arithmetic.WORKSPACE, raising=False)
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: fork([]))


def test_trainings_on_cuda_are_repeatable_and_in_float32(no_cuda):
    before = settings()
    with arithmetic.repeatable(CUDA):
        assert torch.backends.cuda.matmul.allow_tf32 is False
        assert torch.backends.cudnn.allow_tf32 is False
        assert torch.backends.cudnn.benchmark is False
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ[arithmetic.WORKSPACE] == ":4096:8"
    assert settings() == before, "those of other work in the process"
    with arithmetic.repeatable(torch.device("cpu")):
        assert settings() == before


def test_random_states_outlive_a_training():
    before = torch.random.get_rng_state()
    with arithmetic.repeatable(torch.device("cpu")):
        torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_updates_and_validation_are_repeatable(tmp_path, monkeypatch, no_cuda):
    seen = []

    def noted(name):
        function = getattr(loop, name)

        def call(*arguments, **options):
            seen.append((name, torch.are_deterministic_algorithms_enabled()))
            return function(*arguments, **options)

        monkeypatch.setattr(loop, name, call)

    noted("step")
    noted("score")
    within = arithmetic.repeatable
    monkeypatch.setattr(loop, "repeatable", lambda device: within(CUDA))  # whatever the device
    fit_tiny(tmp_path)
    assert {name for name, _ in seen} == {"step", "score"}
    assert all(strict for _, strict in seen)


# By PyTorch's list (`torch.use_deterministic_algorithms`): these have no deterministic algorithm on
# CUDA at all, and a cumulative sum has none of floating-point numbers.
REFUSED = (
    *("histc", "bincount", "median", "kthvalue", "cumprod", "grid_sampler", "ctc_loss"),
    *("embedding_bag", "nll_loss", "max_unpool", "fractional_max_pool", "adaptive", "avg_pool3d"),
    *("reflection_pad", "upsample", "scatter_reduce", "index_reduce"),
)


class Refused(TorchDispatchMode):
    """Notes operations within that PyTorch would refuse on CUDA."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name, result = function.overloadpacket.__name__, function(*arguments, **(keywords or {}))
        floating = name in ("cumsum", "cumsum_") and result.is_floating_point()
        if floating or any(name.startswith(part) or f"_{part}" in name for part in REFUSED):
            self.found.add(name)
        return result


@pytest.mark.parametrize("name", TRAINED)
def test_no_operation_is_refused_on_cuda(name):
    """In an update, and in validation."""
    system = SYSTEMS[name]
    with Refused() as update_of:
        update(name, mixed=True)
    decoder = zoo.build(system, len(AREAS), areas=AREAS).eval()
    spikes = torch.zeros(WINDOWS.get(system.architecture, 256), 2, len(AREAS), dtype=torch.uint8)
    with torch.no_grad(), backends.only("reference"), Refused() as validation:
        decoder.decode(spikes)
    assert update_of.found | validation.found == set()
