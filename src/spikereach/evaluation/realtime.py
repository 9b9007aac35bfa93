"""The real-time check: the decoder as it would run on a patient, one bin at a time."""

import copy
import itertools
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikereach.evaluation.errors import EvaluationError
from spikereach.evaluation.footprint import deployment
from spikereach.models.decoder import STEP_S, Decoder
from spikereach.models.passes import as_input
from spikereach.ops.common.spikes import Spikes

MAX_LATENCY_MS, MIN_RATE_HZ = 100.0, 10.0
"""Krausse et al. 2025: what counts as real time."""

TOLERANCE = 1e-4
"""Largest difference of stream and batch, relative to the output's root mean square. Sums of
different order differ by about 1e-6; a bin too early or too late makes a difference of 1."""

SEGMENTS = 20
"""Parts of the stream that are compared with the batch pass one by one."""

DIVERGED = 0.1
"""Share of segments that may differ in a spiking decoder: where a membrane is within rounding
of the threshold, stream and batch may differ in a spike, and recurrence amplifies it."""

WARM_UP = 20
"""Untimed bins before the timed ones (compilation, caches)."""

POSITIONS = 16
"""Bins from which on the future is altered, one by one, to measure the look-ahead."""

FUTURES = (1.0, 0.5, 0.2, 0.0)
"""Shares of channels that fire in the altered bins."""


def check(decoder: Decoder, spikes: np.ndarray | Tensor, steps: int) -> dict[str, Any]:
    """Stream a decoder bin by bin and judge whether it is real-time capable.

    Args:
        decoder: put into evaluation mode; runs on its own device.
        spikes: (T, C).
        steps: bins streamed, at most T.
    Returns:
        the fields of `records.Realtime`, without those that name the run.
    Raises:
        EvaluationError: the decoder uses bins further ahead than it declares, or its stream is
            not its batch output.
    """
    decoder.eval()
    inputs = as_input(decoder, spikes).float()
    with torch.inference_mode():
        lookahead = measure_lookahead(decoder, inputs)
        declared = decoder.timing.lookahead
        if lookahead > declared:
            raise EvaluationError(
                f"look-ahead: the decoder declares {declared} steps, but a bin changes "
                f"the output {lookahead} steps before it: correct its `lookahead` or its padding"
            )
        max_error, diverged, times_us = _stream(decoder, inputs[:steps])
    footprint = deployment(decoder)
    return {
        "lookahead_declared": declared,
        "lookahead_measured": lookahead,
        "stream_max_error": max_error,
        "stream_diverged": diverged,
        **timing(decoder),
        "stream_buffer_bytes": footprint["buffers_bytes"] + footprint["states_bytes"],
        "median_us": float(np.median(times_us)),
        "p99_us": float(np.percentile(times_us, 99)),
    }


def timing(decoder: Decoder) -> dict[str, Any]:
    """latency_ms, execution_rate_hz and realtime by the rule of Krausse et al. 2025."""
    latency_ms = round(decoder.timing.latency_steps * STEP_S * 1000, 6)
    rate_hz = round(1 / (decoder.timing.update_period * STEP_S), 6)
    return {
        "latency_ms": latency_ms,
        "execution_rate_hz": rate_hz,
        "realtime": latency_ms <= MAX_LATENCY_MS and rate_hz >= MIN_RATE_HZ,
    }


def measure_lookahead(decoder: Decoder, inputs: Tensor) -> int:
    """How many steps before the first altered bin the output changes, at most over trials.

    From a position on, the future is replaced by bins in which every channel fires, half, a
    fifth or none of them, so that a spiking decoder answers to one of them. Positions lie at
    all phases of the update period (up to :data:`POSITIONS` of them). Each altered recording is
    decoded by itself, in a call of the same shape as the unaltered one: everything that does
    not depend on the future is then equal to the last bit. If decoding the same twice differs
    already, only larger differences count.

    Args:
        decoder: any.
        inputs: (T, 1, C); repeated where too short.
    Returns:
        0 where no output before an altered bin changes.
    """
    timing, period = decoder.timing, decoder.timing.update_period
    # From the first position on, even twice the declared look-ahead shows, and there is an output.
    first = max(2 * timing.lookahead + period, timing.receptive_field or 1)
    generator = np.random.default_rng(0)
    phases = generator.permutation(np.arange(POSITIONS // 2, max(period, POSITIONS)))
    positions = first + np.concatenate([np.arange(POSITIONS // 2), phases[: POSITIONS // 2]])
    length = int(positions.max()) + timing.lookahead + 1
    length = -(-length // timing.whole_windows) * timing.whole_windows
    recording = inputs.repeat(-(-length // len(inputs)), 1, 1)[:length]
    baseline = decoder.decode_standardised(recording)
    noise = 4 * (decoder.decode_standardised(recording) - baseline).abs().max()
    furthest = 0
    for position in positions.tolist():
        for rate in FUTURES:
            altered = recording.clone()
            future = generator.random((length - position, decoder.channels)) < rate
            altered[position:, 0] = torch.as_tensor(future).to(altered)
            differences = (decoder.decode_standardised(altered) - baseline).abs()
            changed = (differences > noise).any(dim=2).nonzero()
            if len(changed):
                furthest = max(furthest, position - int(changed[0, 0]))
    return furthest


def _stream(decoder: Decoder, inputs: Tensor) -> tuple[float, float, np.ndarray]:
    """Largest error, share of diverged segments, and microseconds per bin."""
    steps = len(inputs)
    starts = np.unique(np.linspace(0, steps, SEGMENTS + 1).astype(int))
    bins = inputs[:, 0].to(torch.uint8).cpu().numpy()
    step = decoder.standardised_streamer()
    for spikes in bins[:WARM_UP]:
        step(spikes)
    state, times_us = None, np.empty(steps)
    outputs, errors = [], []
    for start, stop in itertools.pairwise(starts.tolist()):
        # A copy, because a decoder may reuse the memory of its state.
        step = decoder.standardised_streamer(copy.deepcopy(state))
        streamed = []
        for number in range(start, stop):
            before = time.perf_counter_ns()
            velocity = step(bins[number])
            times_us[number] = (time.perf_counter_ns() - before) / 1000
            streamed.append(velocity.copy())
        outputs.append(decoder.standardisation.undo(torch.from_numpy(np.stack(streamed))))
        batch, state = decoder(inputs[start:stop], state)
        batch = decoder.standardisation.undo(batch[:, 0].cpu())
        errors.append((outputs[-1] - batch).abs().max().item())
    rms = torch.cat(outputs).square().mean().sqrt().item()
    agreed = [error for error in errors if error <= TOLERANCE * rms]
    diverged = 1 - len(agreed) / len(errors)
    spiking = any(isinstance(module, Spikes) for module in decoder.modules())
    if diverged > (DIVERGED if spiking else 0):
        raise EvaluationError(
            f"stream: bin by bin the output differs from the batch pass by up to {max(errors):.3g} "
            f"(root mean square of the output: {rms:.3g}) in {diverged:.0%} of the recording: "
            "the state does not carry all that the decoder needs"
        )
    return max(agreed), diverged, times_us
