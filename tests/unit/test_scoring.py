"""Loss and R2: NeuroBench's, over pieces of a stream and over sessions."""

import numpy as np
import pytest
import torch
from neurobench.metrics.workload import R2

from spikereach.evaluation.metrics import r2
from spikereach.training import scoring
from spikereach.training.scoring import Sums, score
from training_cases import CHANNELS, TinyGRU, session, stage, system


def test_sums_give_neurobenchs_r2():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(500, 2, generator=generator) * 3 + 7
    pred = true + torch.randn(500, 2, generator=generator)
    sums = Sums(torch.device("cpu"))
    for piece in (slice(0, 3), slice(3, 400), slice(400, 500)):
        sums.add(pred[piece, None], true[piece, None])
    metric = R2()
    expected = metric(None, pred, (None, true))
    loss, found = sums.loss_and_r2("rmse").tolist()
    assert found == pytest.approx(expected, abs=1e-5)
    assert loss == pytest.approx(((pred - true) ** 2).mean().sqrt().item(), rel=1e-6)
    assert sums.loss_and_r2("mse")[0].item() == pytest.approx(loss**2)


def test_score_averages_sessions_and_follows_a_delayed_decoder(monkeypatch):
    monkeypatch.setattr(scoring, "PIECE", 37)  # not a divisor of anything here
    torch.manual_seed(0)
    decoder = TinyGRU(channels=CHANNELS, delay=5).eval()
    others = [session(), session("indy_other", seed=3, steps=1200)]
    options = {"training": system(finetune=stage()).training, "areas": ("M1",)}
    expected = []
    for one in others:
        part = one.split("neurobench").val
        spikes = torch.tensor(one.spikes[part.start : part.stop]).float().unsqueeze(1)
        with torch.no_grad():
            velocity = decoder.decode(spikes)[:, 0]
        expected.append(r2(velocity, one.velocity[part.start : part.stop]))
    _, found = score(decoder, others, part="val", **options)
    assert found == pytest.approx(np.mean(expected), abs=1e-5)
