"""Batches: their order, their randomness, and where they are cut."""

import numpy as np
import torch

from spikereach.data.windows import Windows
from spikereach.training.feed import OnDevice
from spikereach.training.seeds import RandomStreams
from training_cases import session, stage


def test_every_window_comes_before_one_comes_twice():
    streams = RandomStreams(0, stage())
    order = streams.order(10, 25, epoch=0)
    assert len(order) == 25
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order.tolist() != streams.order(10, 25, epoch=1).tolist()


def test_windows_cut_on_a_device_are_those_cut_on_the_host():
    areas = ("M1", "S1", "M1", "M1", "S1", "M1")
    pair = [session(areas=areas), session("indy_other", seed=3, steps=1200, areas=areas)]
    windows = Windows(pair, "train", "liu2024", ("M1",), 50, 7)
    order = np.random.default_rng(0).permutation(len(windows))[:40]
    device = torch.device("cpu")
    batches = [feed.batch(order) for feed in (windows, OnDevice(windows, device))]
    for host, on_device in zip(*batches, strict=True):
        assert torch.equal(torch.from_numpy(host), on_device)


def test_random_streams_are_independent():
    streams = [RandomStreams(seed, recipe) for seed in (0, 1) for recipe in (stage(), None)]
    numbers = {
        one.number(purpose, *when)
        for one in streams
        for purpose in RandomStreams.PURPOSES
        for when in ((), (0,), (1,), (0, 1))
    }
    assert len(numbers) == len(streams) * len(RandomStreams.PURPOSES) * 4
