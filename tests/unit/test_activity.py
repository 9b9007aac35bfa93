"""A training says whether its units are silent or saturated, and whether it learned anything."""

import logging

import numpy as np
import pytest
import torch

from spikereach.training.activity import Activity, warn
from spikereach.training.fit import fit
from training_cases import NAMES, rsnn, run_options, session


def test_shares_are_over_all_updates_and_layers():
    generator = torch.Generator().manual_seed(0)
    updates = [
        {"a": (torch.rand(20, 3, 4, generator=generator) < 0.5).float(), "b": torch.zeros(20, 3, 2)}
        for _ in range(3)
    ]
    for spikes in updates:
        spikes["a"][..., 0] = 1
    updates[1]["b"][4, 0, 1] = 1  # a single spike: not silent
    activity = Activity(torch.device("cpu"))
    for spikes in updates:
        activity.add(spikes)
    together = np.concatenate(
        [torch.cat([u[name] for u in updates]).mean((0, 1)).numpy() for name in "ab"]
    )
    assert activity.silent_and_saturated() == ((together == 0).mean(), (together > 0.9).mean())
    assert activity.silent_and_saturated() == (1 / 6, 1 / 6)
    activity.clear()
    assert activity.silent_and_saturated() == (0.0, 0.0)


def test_a_decoder_without_spikes_is_not_silent():
    activity = Activity(torch.device("cpu"))
    activity.add({})
    assert activity.silent_and_saturated() == (0.0, 0.0)


@pytest.mark.parametrize(
    ("val", "silent", "saturated", "said"),
    [
        (0.5, 0.1, 0.2, []),
        (0.01, 0.0, 0.0, ["nothing was learned in 2 epochs"]),
        (0.5, 0.6, 0.0, ["60 % of the hidden units are silent"]),
        (-1.0, 0.0, 0.9, ["nothing was learned", "90 % of the hidden units are saturated"]),
    ],
)
def test_what_is_said(caplog, val, silent, saturated, said):
    caplog.set_level(logging.WARNING)
    rows = [{"val_r2": value, "silent": silent, "saturated": saturated} for value in (val, -2.0)]
    warn("LIF-t2 on a", rows, rows[0])
    assert len(caplog.messages) == len(said)
    for message, part in zip(caplog.messages, said, strict=True):
        assert part in message
        assert "LIF-t2 on a" in message


def test_a_training_tells_of_silent_units_in_history_and_log(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    recipe = rsnn(epochs=2, penalties={"spike_sum": 1e4})
    _, history = fit(recipe, [session()], **NAMES | run_options(tmp_path))
    assert history.silent.iloc[-1] > history.silent.iloc[0]
    assert (history[["silent", "saturated"]] >= 0).all(axis=None)
    assert history.silent.iloc[-1] >= 0.5
    assert "nothing was learned" in caplog.text
