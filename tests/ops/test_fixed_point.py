"""Neurons in fixed point: exact numbers, the same in every way of computing them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import OPERATIONS, differentiated

from spikereach.ops.common import backends
from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.surrogates import fast_sigmoid
from spikereach.ops.integrator import scan_integrator

NAMES = ["current_integrator", "current_lif", "integrator"]
WEIGHTS = ["currents", "decay", "input", "mem", "output", "recurrent", "syn"]
OPTIONS = {
    "batch": 3,
    "dropout": (None, None),
    "inputs": 7,
    "kind": torch.uint8,
    "loss": "each step",
    "steps": 35,
    "surrogate": fast_sigmoid(5.0),
    "units": 9,
    "wide": False,
}
FORMATS = {
    "weight_bits": st.sampled_from([(0, 3), (1, 7), (2, 5)]),
    "fixed_point": st.sampled_from([(0, 4), (1, 4), (3, 8), (5, 12), (2, 15)]),
    "outputs": st.sampled_from([1, 4]),
    "seed": st.integers(0, 2**20),
}
"""The last format and that of the most exact weights just fit float32."""


def on_grids(operation):
    """The operation of numbers that lie on the weights' or the buffers' grid."""

    def draw(options):
        formats = options["weight_bits"], options["fixed_point"]
        drawn = operation.draw(options)
        of_weights = {"arriving", *WEIGHTS}
        return {n: quantise(t, *formats[n not in of_weights]) for n, t in drawn.items()}

    return operation._replace(draw=draw)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(chosen=st.fixed_dictionaries(FORMATS))
def test_float32_the_compiled_loops_and_float64_give_the_same_bits(name, chosen):
    operation, options = on_grids(OPERATIONS[name]), OPTIONS | chosen
    exact, gradients = differentiated(operation, options, "reference", torch.float64)
    single, _ = differentiated(operation, options, "reference")
    compiled, ours = differentiated(operation, options, "cpu")
    for one, two, three in zip(exact, single, compiled, strict=True):
        assert torch.equal(one, two.double())
        assert torch.equal(two, three)
    for key, gradient in gradients.items():
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(
            ours[key].double() / scale, gradient / scale, rtol=0, atol=1e-5, msg=key
        )


def halved(values, bits):
    """Whole numbers divided by ``2**bits``, ties to even."""
    below, rest, half = values >> bits, values & ((1 << bits) - 1), 1 << (bits - 1)
    return below + ((rest > half) | ((rest == half) & (below % 2 == 1)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(chosen=st.fixed_dictionaries(FORMATS))
def test_the_neuron_is_one_of_whole_numbers(chosen):
    options, f, (m, n) = OPTIONS | chosen, chosen["weight_bits"][1], chosen["fixed_point"]
    operation = on_grids(OPERATIONS["current_lif"])
    drawn = operation.draw(options)
    whole = {
        name: (t.double() * 2.0 ** (n if name in ("v", "i") else f)).long().numpy()
        for name, t in drawn.items()
    }
    g = torch.Generator().manual_seed(options["seed"])
    shape = options["steps"], options["batch"], options["inputs"]
    x = (torch.rand(shape, generator=g) < 0.3).long().numpy()  # as the operation draws them
    v, i, arriving, mem, syn = (whole[name] for name in ("v", "i", "arriving", "mem", "syn"))
    expected, ends = [], (-(1 << (m + n)), (1 << (m + n)) - 1)
    for row in x:
        z = (v > 1 << n).astype(int)
        v = np.clip(halved(mem * v + ((1 << f) - mem) * i, f), *ends) * (1 - z)
        i = np.clip(halved(syn * i + (arriving << n), f), *ends)
        arriving = row @ whole["input"].T + z @ whole["recurrent"].T
        expected.append(z)
    spikes, out, *last = operation.run(drawn, options, "reference")
    assert (spikes.numpy() == expected).all()
    assert (out.numpy() * 2**f == np.stack(expected) @ whole["output"].T).all()
    for found, numbers, bits in zip(last, (v, i, arriving), (n, n, f), strict=True):
        assert (found.double().numpy() * 2**bits == numbers).all()


def test_no_gradient_passes_where_a_membrane_saturates():
    currents = torch.tensor([0.5, 5.0, 0.25]).view(3, 1, 1).requires_grad_()
    for backend in ("cpu", "reference"):
        membranes, _ = scan_integrator(
            currents, 0.5, torch.zeros(1, 1), fixed_point=(1, 3), backend=backend
        )
        assert membranes.flatten().tolist() == [0.5, 1.875, 1.25]  # 1.1875 is rounded to 10 / 8
        (gradient,) = torch.autograd.grad(membranes.sum(), currents)
        assert gradient.flatten().tolist() == [1.0, 0.0, 1.0]


def test_cuda_takes_the_reference_in_fixed_point(monkeypatch):
    monkeypatch.setattr(backends, "fits_cpu", lambda *_: False)
    monkeypatch.setattr(backends, "fits_cuda", lambda *_, **__: True)
    taken = backends.choose("spikereach.ops.integrator", None, cuda=False)
    assert taken.__name__ == "spikereach.ops.integrator.reference"
    with pytest.raises(ValueError, match="no Triton kernel in fixed point"):
        scan_integrator(
            torch.zeros(1, 1, 1), 0.5, torch.zeros(1, 1), fixed_point=(1, 3), backend="cuda"
        )
