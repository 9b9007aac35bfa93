"""Recordings in pieces: of one length, aligned in time, and the same as in one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikereach.models.decoder import Decoder, Timing
from spikereach.models.passes import in_pieces


class Delayed(Decoder):
    """Returns the counts of ``lookahead`` steps earlier."""

    def __init__(self, lookahead, period):
        super().__init__(channels=3, timing=Timing(lookahead=lookahead, update_period=period))
        self.lengths, self.types = [], []

    def forward(self, spikes, state=None):
        self.lengths.append(len(spikes))
        self.types.append(spikes.dtype)
        if state is None:
            state = spikes.new_zeros(self.timing.lookahead, *spikes.shape[1:])
        held = torch.cat([state, spikes])
        out = held[: len(spikes)].sum(2, keepdim=True).repeat(1, 1, 2)
        return out, held[len(spikes) :]


@given(st.integers(1, 400), st.integers(0, 60), st.sampled_from([1, 2, 8]), st.integers(1, 30))
def test_pieces_are_alike_and_no_larger_than_asked(steps, lookahead, period, units):
    decoder, piece = Delayed(lookahead, period), units * period
    spikes = torch.rand(steps, 1, 3)
    parts = list(in_pieces(decoder, spikes, piece))
    assert torch.equal(torch.cat(parts)[:, 0, 0], spikes.sum(2)[:, 0])
    *whole, last = decoder.lengths
    assert max(decoder.lengths) <= piece
    assert len(set(whole)) <= 1
    assert all(length % period == 0 for length in whole)
    assert sum(decoder.lengths) == steps + lookahead
    needed = -(-(steps + lookahead) // piece)
    assert len(decoder.lengths) <= needed
    assert last >= (steps + lookahead) // needed - (needed - 1) * (period + 1)


@pytest.mark.parametrize(("takes", "kind"), [(True, torch.uint8), (False, torch.float32)])
def test_bytes_reach_only_decoders_that_take_them(takes, kind):
    decoder = Delayed(2, 1)
    decoder.takes_bytes = takes
    list(in_pieces(decoder, torch.ones(9, 1, 3, dtype=torch.uint8), 4))
    assert set(decoder.types) == {kind}
