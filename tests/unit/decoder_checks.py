"""Checks that every decoder has to pass, whatever is inside."""

from collections import defaultdict
from contextlib import nullcontext

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikereach.models.decoder import Decoder
from spikereach.models.stages import Stage
from spikereach.ops.common import record
from spikereach.ops.common.backends import only


class Handmade(Decoder):
    """Nothing but stages, to be exported."""

    def __init__(self, channels: int, *made: Stage):
        super().__init__(channels=channels)
        self.made = list(made)

    def stages(self):
        return self.made


def random_spikes(steps: int, batch: int, channels: int, seed: int = 0, rate: float = 0.2):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, batch, channels, generator=generator) < rate).float()


def assert_stream_equals_batch(decoder: Decoder, longest: int, tolerance: float = 1e-5):
    """Any way to cut a recording into calls gives what one call gives."""
    decoder.eval()

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        chunks=st.lists(st.integers(1, longest), min_size=1, max_size=6),
        batch=st.integers(1, 3),
        seed=st.integers(0, 2**16),
    )
    def check(chunks, batch, seed):
        spikes = random_spikes(sum(chunks), batch, decoder.channels, seed)
        with torch.no_grad():
            whole, _ = decoder(spikes)
            state, parts = None, []
            for chunk in spikes.split(chunks):
                part, state = decoder(chunk, state)
                assert part.shape == (len(chunk), batch, 2)
                parts.append(part)
        torch.testing.assert_close(torch.cat(parts), whole, rtol=tolerance, atol=tolerance)

    check()


def assert_reference_agrees(decoder: Decoder, steps: int):
    """Compiled loops give what the modules give, and say the same of every layer."""
    decoder.eval()
    spikes = random_spikes(steps, 2, decoder.channels)
    results = []
    for backend in (only("reference"), nullcontext()):
        with torch.no_grad(), backend, record.recording(decoder) as found:
            velocity, _ = decoder(spikes)
        fired = [
            sum(map(count, found.activations)) for count in (Tensor.numel, Tensor.count_nonzero)
        ]
        results.append((velocity, _received(found.calls), fired))
    (velocity, received, activations), actual = results
    torch.testing.assert_close(actual[0], velocity)
    assert actual[2] == activations
    assert actual[1].keys() == received.keys()
    for layer, rows in received.items():
        torch.testing.assert_close(actual[1][layer], rows)


def _received(calls):
    """All that a layer received, as rows in order, however many calls it was."""
    rows = defaultdict(list)
    for each in calls:
        for number, inputs in enumerate(each.inputs):
            rows[each.layer, number].append(inputs.float().flatten(0, -2))
    return {layer: torch.cat(parts) for layer, parts in rows.items()}


def earliest_changes(decoder: Decoder, steps: int, positions) -> dict[int, int]:
    """For each position, how many steps after it the output first depends on that input.

    All spikes from the position on are inverted, in many recordings. Positions without any
    effect are left out.
    """
    decoder.eval()
    spikes = random_spikes(steps, 64, decoder.channels)
    found = {}
    with torch.no_grad():
        before, _ = decoder(spikes)
        for position in positions:
            changed = spikes.clone()
            changed[position:] = 1 - changed[position:]
            after, _ = decoder(changed)
            differing = (after != before).flatten(1).any(1).nonzero()
            if len(differing):
                found[position] = int(differing[0]) - position
    return found


def toy_problem(steps: int, batch: int, channels: int):
    """Velocities that the rates of two halves of the channels encode."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(steps)[:, None]
    phase = 6.28 * torch.rand(2, batch, generator=generator)
    velocity = torch.stack(
        [torch.sin(time / 25 + phase[0]), torch.cos(time / 40 + phase[1])], dim=2
    )
    half = channels // 2
    drive = velocity.repeat_interleave(half, dim=2)
    rate = 0.15 * (1 + drive)
    spikes = (torch.rand(steps, batch, 2 * half, generator=generator) < rate).float()
    return spikes, velocity


def losses_of_training(decoder: Decoder, spikes, velocity, *, updates: int, rate: float):
    """Mean squared errors over a few updates; all gradients are finite."""
    torch.manual_seed(0)
    decoder.train()
    optimiser = torch.optim.Adam(decoder.parameters(), lr=rate)
    losses = []
    for _ in range(updates):
        with record.recording(decoder) as found:
            prediction, target = decoder.training_pairs(spikes, velocity)
            error = (prediction - target).square().mean()
        optimiser.zero_grad()
        (error + sum(found.losses.values())).backward()
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimiser.step()
        losses.append(error.item())
    return losses
