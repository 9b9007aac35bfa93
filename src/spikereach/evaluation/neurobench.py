"""NeuroBench's own benchmark, unmodified: the oracle of `evaluation.metrics`."""

import contextlib
import copy
import io
import math
import warnings

import numpy as np
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import R2, ActivationSparsity, SynapticOperations
from neurobench.models import NeuroBenchModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from spikereach.evaluation import metrics
from spikereach.evaluation.errors import EvaluationError
from spikereach.models.decoder import Decoder
from spikereach.models.passes import as_input, in_pieces, usable_steps
from spikereach.ops.common.backends import only
from spikereach.ops.common.record import recording
from spikereach.ops.common.spikes import Spikes

PROBE = 64
"""Steps from which the operations of a call are projected."""

MOST = 65536
"""Largest number of steps per call."""

_OPERATIONS = {"dense", "effective_macs", "effective_acs"}
_TOLERANCE = {"r2": 1e-6, "activation_sparsity": 1e-9}


class _Stream(NeuroBenchModel):
    """A decoder as NeuroBench sees it: spikes (T, 1, C) to velocities (T, 2), time first."""

    def __init__(self, decoder: Decoder, piece: int):
        super().__init__()
        self.decoder, self.piece = decoder, 1 if decoder.timing.once_per_step else piece
        self.add_activation_module(Spikes)

    def __call__(self, batch: Tensor) -> Tensor:
        with only("reference"):
            pieces = in_pieces(self.decoder, batch, self.piece)
            return torch.cat([velocity[:, 0] for velocity in pieces])

    def __net__(self) -> nn.Module:
        return self.decoder


def run(
    decoder: Decoder,
    spikes: np.ndarray | Tensor,
    velocity: np.ndarray | Tensor,
    piece: int | None = None,
) -> dict[str, float]:
    """NeuroBench's metrics of a decoder on a continuous recording.

    The recording is one batch with time on the batch axis, so that costs are per 4 ms step.
    Recurrent layers are called step by step, and so is a network that is run anew for each step;
    see :func:`piece_steps` for all others.

    Args:
        decoder: put into evaluation mode.
        spikes: (T, C).
        velocity: (T, 2), session units per step.
        piece: steps per call of the decoder; None: as many as :func:`piece_steps` allows.
    Returns:
        the metrics of `metrics.measure`.
    Raises:
        EvaluationError: NeuroBench reports a failing metric or warns of anything, which by
            itself would leave a figure of 0.0.
    """
    steps = usable_steps(decoder, len(spikes))
    inputs = as_input(decoder, spikes[:steps])
    targets = torch.as_tensor(velocity[:steps]).to(inputs.device)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=steps, shuffle=False)
    decoder.eval()
    model = _Stream(decoder, piece or piece_steps(decoder))
    static, workload = [Footprint, ConnectionSparsity], [R2, ActivationSparsity, SynapticOperations]
    benchmark = Benchmark(model, loader, [], [], [static, workload])
    printed = io.StringIO()
    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(io.StringIO()),  # its progress bar
        ):
            # With its own `quiet` it would throw error messages away.
            results = benchmark.run(quiet=False)
    finally:
        model.cleanup_hooks()
    lines = printed.getvalue().splitlines()
    complaints = [line for line in lines if line.strip() not in ("", "Running benchmark")]
    complaints += [f"{w.category.__name__}: {w.message}" for w in caught]
    if complaints:
        raise EvaluationError("NeuroBench could not measure the decoder: " + "; ".join(complaints))
    operations = results["SynapticOperations"]
    return {
        "r2": results["R2"],
        "footprint": results["Footprint"],
        "connection_sparsity": results["ConnectionSparsity"],
        "activation_sparsity": results["ActivationSparsity"],
        "dense": operations["Dense"],
        "effective_macs": operations["Effective_MACs"],
        "effective_acs": operations["Effective_ACs"],
    }


def piece_steps(decoder: Decoder) -> int:
    """Steps per call of the decoder for which NeuroBench's own sums are exact.

    NeuroBench adds up the operations of one layer call in the number format of the layer,
    which holds integers exactly up to 2^24 (float32) or 2^11 (float16). A layer that takes
    all steps in one call goes beyond that after some hundred steps, so it is given fewer at
    a time; what is counted stays the same. Every layer is taken for one that does.

    Returns:
        a multiple of the update period and the window, at least one of them.
    """
    unit = decoder.timing.unit
    probe = unit * math.ceil(PROBE / unit)
    silence = as_input(decoder, torch.zeros(probe, decoder.channels))
    with torch.no_grad(), only("reference"), recording(decoder) as record:
        decoder(silence)
    share = MOST / probe
    for calls in metrics.by_layer(record.calls):
        _, _, dense = metrics.count(calls)
        share = min(share, 2 / torch.finfo(calls.inputs[0].dtype).eps / dense)
    return max(unit, math.floor(share * probe / unit) * unit)


def verify(
    decoder: Decoder, spikes: np.ndarray | Tensor, velocity: np.ndarray | Tensor
) -> dict[str, float]:
    """NeuroBench's metrics, after checking that the exact ones are equal on this recording.

    A decoder in half precision is compared as a float32 copy with the same values: NeuroBench
    adds up the operations of a layer in the layer's own format, and float16 ends at 65504.

    Args:
        decoder: any.
        spikes: (T, C).
        velocity: (T, 2), session units per step.
    Raises:
        EvaluationError: as :func:`run`, or naming the first metric that differs, and both values.
            Operations must be equal to the integer, R2 to 1e-6, activation sparsity to 1e-9.
    """
    stored_bytes = metrics.footprint(decoder), Footprint()(_Stream(decoder, 1))
    if any(parameter.dtype == torch.float16 for parameter in decoder.parameters()):
        decoder = copy.deepcopy(decoder).float()
    piece, steps = piece_steps(decoder), usable_steps(decoder, len(spikes))
    oracle = run(decoder, spikes, velocity, piece)
    exact, _ = metrics.measure(decoder, spikes, velocity, like_neurobench=piece)
    exact["footprint"], oracle["footprint"] = stored_bytes
    for name, value in oracle.items():
        if name in _OPERATIONS:
            equal = round(exact[name] * steps) == round(value * steps)
        else:
            equal = abs(exact[name] - value) <= _TOLERANCE.get(name, 0)
        if not equal:
            raise EvaluationError(
                f"{name}: {exact[name]!r} counted exactly, {value!r} by NeuroBench over the same "
                f"{steps} steps; what the decoder noted is not what its layers did"
            )
    return oracle
