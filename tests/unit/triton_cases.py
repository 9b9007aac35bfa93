"""The CUDA backend against the reference, run by `test_triton` in a process of its own.

With TRITON_INTERPRET=1 the kernels are interpreted on the CPU; else compiled for the GPU.
"""

import os

import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from spikereach.neurons import scan
from torch.nn import functional as F

from spikereach.models.hybrid import Hybrid
from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.ops.common import cuda
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.record import recording
from spikereach.ops.common.surrogates import Surrogate, arctan, fast_sigmoid, triangle
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState, CurrentWeights
from spikereach.ops.lif.step import LIFParameters, LIFState

DEVICE = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
SURROGATES = st.sampled_from([fast_sigmoid(5.0), triangle(0.3), arctan(2.0)])
RESETS = st.sampled_from(["subtract", "zero", "zero_and_input", "none"])
SEEDS = st.integers(0, 2**20)

few = settings(  # an interpreter is too slow to search for the smallest example
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def differentiated(run, tensors, backend, losses):
    """Outputs of ``run`` and gradients of all ``tensors`` for a random loss on some outputs."""
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    outputs = run(leaves, backend)
    generator = torch.Generator().manual_seed(5)
    loss = 0
    for output, way in zip(outputs, losses, strict=True):
        draw = torch.randn(output.shape, generator=generator).to(DEVICE)
        if way == "sum over time":
            output, draw = output.sum(0), draw[0]
        if way:
            loss = loss + (output * draw).sum()
    loss.backward()
    return [o.detach() for o in outputs], {name: leaf.grad for name, leaf in leaves.items()}


def assert_agree(run, tensors, losses, *, spikes=True):
    expected, gradients = differentiated(run, tensors, "reference", losses)
    outputs, ours = differentiated(run, tensors, "cuda", losses)
    if spikes:
        assert torch.equal(outputs[0], expected[0])
    for out, other in zip(outputs, expected, strict=True):
        assert out.dtype == other.dtype
        torch.testing.assert_close(out, other, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        if gradient is None:
            assert ours[name] is None or not ours[name].any(), name
            continue
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(
            ours[name] / scale, gradient / scale, rtol=0, atol=1e-5, msg=lambda m, n=name: n + m
        )
    return expected, gradients


LOSSES = st.sampled_from(["each step", "sum over time"])
ALL_OF_CURRENT_LIF = {
    "steps": 20,
    "batch": 2,
    "units": 7,
    "inputs": 5,
    "outputs": 2,
    "surrogate": fast_sigmoid(5.0),
    "probabilities": (0.3, 0.3),
    "kind": torch.uint8,
    "losses": ("each step", True, True, True, True),
    "seed": 0,
}
"""An example with every option, for both implementations."""


@few
@given(
    steps=st.integers(1, 40),
    batch=st.integers(1, 3),
    units=st.sampled_from([1, 7, 16, 21]),
    recurrent=st.booleans(),
    reset=RESETS,
    surrogate=SURROGATES,
    fixed_point=st.sampled_from([None, (0, 3), (1, 4), (3, 12)]),
    scalar=st.booleans(),
    losses=st.tuples(st.one_of(st.none(), LOSSES), st.just(True), st.booleans()),
    seed=SEEDS,
)
def test_lif(steps, batch, units, recurrent, reset, surrogate, fixed_point, scalar, losses, seed):
    g = torch.Generator().manual_seed(seed)
    tensors = {
        "currents": torch.randn(steps, batch, units, generator=g) * 0.7,
        "decay": torch.rand(() if scalar else units, generator=g) * 0.4 + 0.5,
        "v": torch.randn(batch, units, generator=g) * 0.5,
        "z": (torch.rand(batch, units, generator=g) < 0.2).float(),
    }
    if recurrent:
        tensors["recurrent"] = torch.randn(units, units, generator=g) / units**0.5
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}

    def run(t, backend):
        z, state = scan.scan_lif(
            t["currents"],
            t.get("recurrent"),
            LIFParameters(t["decay"], 0.75),
            LIFState(t["v"], t["z"]),
            surrogate=surrogate,
            reset=reset,
            fixed_point=fixed_point,
            backend=backend,
        )
        return z, *state

    assert_agree(run, tensors, losses)


def test_lif_of_many_units_without_recurrence():
    """More than one program per stream, constants of each unit."""
    g = torch.Generator().manual_seed(0)
    tensors = {
        "currents": torch.randn(20, 2, 150, generator=g).to(DEVICE),
        "decay": (torch.rand(150, generator=g) * 0.4 + 0.5).to(DEVICE),
    }
    threshold = (torch.rand(150, generator=g) + 0.5).to(DEVICE)
    zeros = torch.zeros(2, 150, device=DEVICE)

    def run(t, backend):
        z, state = scan.scan_lif(
            t["currents"],
            None,
            LIFParameters(t["decay"], threshold),
            LIFState(zeros, zeros),
            surrogate=fast_sigmoid(5.0),
            backend=backend,
        )
        return z, *state

    (z, *_), _ = assert_agree(run, tensors, ("each step", True, True))
    assert 0.1 < z.mean() < 0.6


def test_lif_takes_the_currents_of_mixed_precision():
    """bfloat16 currents, weights and gradients; the neuron itself is float32."""
    torch.manual_seed(0)
    currents, weight = torch.randn(20, 2, 8), torch.randn(8, 8) * 0.3
    halves = [t.to(DEVICE, torch.bfloat16).requires_grad_() for t in (currents, weight)]
    singles = [t.detach().float().requires_grad_() for t in halves]
    spikes = []
    for tensors, backend in ((halves, "cuda"), (singles, "reference")):
        zeros = torch.zeros(2, 8, device=DEVICE)
        z, state = scan.scan_lif(
            *tensors,
            LIFParameters(0.9),
            LIFState(zeros, zeros),
            surrogate=triangle(),
            backend=backend,
        )
        assert z.dtype == state.v.dtype == torch.float32
        (z * torch.arange(8, device=DEVICE)).sum().backward()
        spikes.append(z.detach())
    assert torch.equal(*spikes)
    assert spikes[0].sum() > 10
    for half, single in zip(halves, singles, strict=True):
        assert half.grad.dtype == torch.bfloat16
        torch.testing.assert_close(half.grad.float(), single.grad, rtol=1e-2, atol=1e-2)


@few
@given(
    steps=st.integers(1, 40),
    batch=st.integers(1, 3),
    units=st.sampled_from([1, 13, 16]),
    inputs=st.integers(1, 9),
    outputs=st.sampled_from([1, 2, 10]),
    surrogate=SURROGATES,
    probabilities=st.tuples(*2 * (st.sampled_from([None, 0.0, 0.3, 0.9]),)),
    kind=st.sampled_from([torch.uint8, torch.bool, torch.float32, torch.float64]),
    losses=st.tuples(
        st.one_of(st.none(), LOSSES), st.booleans(), st.just(True), st.booleans(), st.booleans()
    ),
    wide=st.booleans(),
    seed=SEEDS,
)
@example(**ALL_OF_CURRENT_LIF, wide=False)
@example(**ALL_OF_CURRENT_LIF, wide=True)
def test_current_lif(
    steps, batch, units, inputs, outputs, surrogate, probabilities, kind, losses, wide, seed
):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(steps, batch, inputs, generator=g) < 0.3
    x = x * torch.randn(x.shape, generator=g) if kind.is_floating_point else x
    x = x.to(DEVICE, kind)
    torch.manual_seed(seed)
    shapes = x.shape, torch.Size((steps, batch, units))
    dropout = [
        None if p is None else draw_dropout(shape, p, DEVICE)
        for shape, p in zip(shapes, probabilities, strict=True)
    ]
    tensors = {
        "input": torch.randn(units, inputs, generator=g),
        "recurrent": torch.randn(units, units, generator=g) / units**0.5,
        "output": torch.randn(outputs, units, generator=g),
        "mem": torch.rand(units, generator=g) * 0.3 + 0.6,
        "syn": torch.rand(units, generator=g) * 0.3 + 0.6,
        "v": torch.randn(batch, units, generator=g) + 0.3,
        "i": torch.randn(batch, units, generator=g),
        "arriving": torch.randn(batch, units, generator=g),
    }
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}

    def run(t, backend):
        z, out, state = scan.scan_current_lif(
            x,
            CurrentWeights(t["input"], t["recurrent"], t["output"]),
            CurrentParameters(t["mem"], t["syn"]),
            CurrentState(t["v"], t["i"], t["arriving"]),
            surrogate=surrogate,
            dropout=dropout,
            backend=backend,
        )
        return z, out, *state

    with pytest.MonkeyPatch.context() as patch:
        if wide:  # as layers of more units
            patch.setattr(cuda, "MAX_UNITS", 0)
        assert_agree(run, tensors, losses)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**63 - 2])
@pytest.mark.parametrize("width", [1, 4, 7])
def test_dropout_is_that_of_all_backends(seed, width):
    """For every size of seed; Triton passes integers of 32 and 64 bits and the number one each in
    a way of its own."""
    x = torch.rand(50, 3, width, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    dropout = draw_dropout(x.shape, 0.4, DEVICE)._replace(seed=seed)
    dropped = cuda._received(x, dropout)
    assert torch.equal(dropped, dropout(x))
    assert 0.3 < (dropped == 0).float().mean() < 0.5


@few
@given(steps=st.integers(1, 40), batch=st.sampled_from([1, 70]), units=st.integers(1, 3))
def test_integrators(steps, batch, units):
    g = torch.Generator().manual_seed(3)
    tensors = {
        "currents": torch.randn(steps, batch, units, generator=g),
        "mem": torch.rand(units, generator=g) * 0.3 + 0.6,
        "syn": torch.rand(units, generator=g) * 0.3 + 0.6,
        "v": torch.randn(batch, units, generator=g),
        "i": torch.randn(batch, units, generator=g),
        "arriving": torch.randn(batch, units, generator=g),
    }
    tensors = {name: tensor.to(DEVICE) for name, tensor in tensors.items()}

    def two_stages(t, backend):
        state = CurrentState(t["v"], t["i"], t["arriving"])
        membranes, state = scan.scan_current_integrator(
            t["currents"], CurrentParameters(t["mem"], t["syn"]), state, backend=backend
        )
        return membranes, *state

    def one_stage(t, backend):
        return scan.scan_integrator(t["currents"], t["mem"], t["v"], backend=backend)

    assert_agree(two_stages, tensors, ("each step", True, True, True), spikes=False)
    for decay in (tensors["mem"], tensors["mem"][0]):
        chosen = {"currents": tensors["currents"], "mem": decay, "v": tensors["v"]}
        assert_agree(one_stage, chosen, ("each step", True), spikes=False)


def test_the_forward_pass_alone_keeps_nothing():
    """Without gradients, the same spikes and no checkpoints."""
    torch.manual_seed(0)
    currents = torch.randn(40, 2, 8, device=DEVICE)
    zeros = torch.zeros(2, 8, device=DEVICE)
    results = []
    for leaf in (currents, currents.clone().requires_grad_()):
        results.append(
            scan.scan_lif(
                leaf,
                torch.eye(8, device=DEVICE),
                LIFParameters(0.9),
                LIFState(zeros, zeros),
                surrogate=triangle(),
                backend="cuda",
            )
        )
    (z, state), (other, other_state) = results
    assert not z.requires_grad
    assert torch.equal(z, other)
    assert torch.equal(state.v, other_state.v)


def test_membranes_that_are_not_numbers_stay_so():
    """An explosion must be seen, in fixed point too."""
    currents = torch.tensor([1.0, torch.nan, 0.0], device=DEVICE).view(3, 1, 1)
    zeros = torch.zeros(1, 1, device=DEVICE)
    for fixed_point in (None, (1, 4)):
        _, state = scan.scan_lif(
            currents,
            None,
            LIFParameters(0.9),
            LIFState(zeros, zeros),
            surrogate=triangle(),
            fixed_point=fixed_point,
            backend="cuda",
        )
        assert state.v.isnan().all()


def test_autocast_leaves_the_neuron_in_float32():
    torch.manual_seed(0)
    x = (torch.rand(30, 2, 6) < 0.3).float().to(DEVICE)
    weights = [torch.randn(shape).to(DEVICE).requires_grad_() for shape in ((5, 6), (5, 5), (2, 5))]
    decays = CurrentParameters(*torch.full((2, 5), 0.8, device=DEVICE))
    zeros = torch.zeros(2, 5, device=DEVICE)
    results = []
    for enabled in (True, False):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=enabled):
            z, out, _ = scan.scan_current_lif(
                x,
                CurrentWeights(*weights),
                decays,
                CurrentState(zeros, zeros, zeros),
                surrogate=fast_sigmoid(5.0),
                backend="cuda",
            )
            loss = F.mse_loss(out.float(), torch.ones_like(out).float()) + z.mean()
        results.append((z, out, *torch.autograd.grad(loss, weights)))
    for with_it, without in zip(*results, strict=True):
        assert torch.equal(with_it, without)
    assert results[0][0].sum() > 5


DECODERS = {
    "rsnn": lambda: RSNN(channels=6, hidden=8, readouts=((50.0, 10.0), (20.0, 5.0))),
    "snn2": lambda: SNN2(channels=6, hidden=8),
    "hybrid": lambda: Hybrid(
        channels=6,
        blocks=1,
        kernel=3,
        conv_channels=4,
        lif_layers=2,
        lif_units=8,
        dropout=0.0,
        tau_mem_ms=30.0,
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_have_the_gradients_of_the_reference(name, monkeypatch):
    torch.manual_seed(0)
    decoder = DECODERS[name]().to(DEVICE)
    with torch.no_grad():
        for weight in (p for p in decoder.parameters() if p.dim() == 2):
            weight.mul_(3.0)  # so that they fire
    spikes = (torch.rand(40, 2, 6) < 0.3).float().to(DEVICE)
    results, ran = [], []
    for backend in (scan.reference, scan.cuda):

        def choose(*arguments, backend=backend, **options):
            ran.append(backend)
            return backend

        monkeypatch.setattr(scan, "_backend", choose)
        torch.manual_seed(1)  # of dropout
        with recording(decoder) as record:
            loss = decoder.decode(spikes).square().mean()
        fired = list(record.spikes.values())
        loss = loss + sum(z.sum(0).square().mean() for z in fired)
        gradients = torch.autograd.grad(loss, list(decoder.parameters()), allow_unused=True)
        results.append((fired, [loss.detach(), *(g for g in gradients if g is not None)]))
    (expected_spikes, expected), (ours_spikes, ours) = results
    assert {scan.reference, scan.cuda} == set(ran)
    for z, other in zip(ours_spikes, expected_spikes, strict=True):
        assert torch.equal(z, other)
        assert z.sum() > 5
    for gradient, other in zip(ours, expected, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(gradient / scale, other / scale, rtol=0, atol=1e-5)


def test_only_a_gpu_takes_these_kernels_by_itself():
    taken = scan._backend(None, torch.zeros(2, 2, device=DEVICE))
    assert taken is (cuda if DEVICE.type == "cuda" else scan.cpu)


def test_unknown_names_are_refused():
    zeros = torch.zeros(1, 1, device=DEVICE)

    def run(surrogate, reset):
        scan.scan_lif(
            zeros[None],
            None,
            LIFParameters(0.9),
            LIFState(zeros, zeros),
            surrogate=surrogate,
            reset=reset,
            backend="cuda",
        )

    with pytest.raises(ValueError, match="soft"):
        run(triangle(), "soft")
    with pytest.raises(ValueError, match="box"):
        run(Surrogate("box", 1.0, 1.0), "zero")
