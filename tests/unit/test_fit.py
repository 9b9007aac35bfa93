"""From a configured system to a checkpoint: initial and pretrained weights, closed forms."""

import pytest
import torch

from spikereach.data.windows import Windows
from spikereach.models.checkpoint import load, save
from spikereach.models.decoder import STEP_S
from spikereach.training.errors import TrainingError
from spikereach.training.fit import fit
from spikereach.training.scoring import score
from training_cases import (
    CHANNELS,
    NAMES,
    TRUST,
    TinyGRU,
    checkpoint,
    fit_tiny,
    run_options,
    session,
    stage,
    system,
)

SESSION = session()


def test_initial_weights_know_the_rate_and_the_seed(tmp_path):
    barely = stage(epochs=1, learning_rate=1e-12)
    windows = Windows([SESSION], "train", "neurobench", ("M1",), barely.window, barely.stride)
    rates = [windows.batch(range(len(windows)))[0].mean() / STEP_S] * CHANNELS
    decoders = [
        fit_tiny(tmp_path / str(number), recipe=barely, seed=seed)[0].decoder
        for number, seed in enumerate((0, 0, 1))
    ]
    assert decoders[0].initialised_at == pytest.approx(rates)
    for name in ("cell.weight_hh", "readout.bias"):  # drawn on building, and by `initialise`
        one, again, other = (decoder.get_parameter(name) for decoder in decoders)
        assert torch.equal(one, again)
        assert not torch.allclose(one, other, atol=1e-3)


def test_pretrained_weights_are_the_start(tmp_path):
    trained, history = fit_tiny(tmp_path / "before", recipe=stage(learning_rate=0.03))
    tiny = stage(epochs=1, learning_rate=1e-9)
    tuned, tuned_history = fit_tiny(tmp_path / "after", recipe=tiny, pretrained=trained)
    assert tuned.decoder.initialised_at == []
    assert tuned_history.val_r2.iloc[0] == pytest.approx(history.val_r2.max(), abs=1e-4)
    for name, value in trained.decoder.state_dict().items():
        torch.testing.assert_close(tuned.decoder.state_dict()[name], value, atol=1e-6, rtol=1e-6)


def test_pretraining_runs_over_sessions_of_different_length(tmp_path):
    entry = system(pretrain=stage(epochs=2), finetune=stage())
    pair = [SESSION, session("indy_other", seed=3, steps=1200)]
    options = NAMES | run_options(tmp_path) | {"dataset": "indy", "stage": "pretrain"}
    trained, history = fit(entry, pair, **options)
    assert len(history) == 2
    assert trained.dataset == "indy"


def test_a_pretrained_checkpoint_must_fit(tmp_path):
    other = checkpoint()
    other.areas = ("M1",) * 3 + ("S1",) * 3
    with pytest.raises(TrainingError, match="3 channels of M1, 3 channels of S1, the session has"):
        fit_tiny(tmp_path, pretrained=other)
    other = checkpoint(TinyGRU(channels=CHANNELS, hidden=5))
    with pytest.raises(TrainingError, match=r"cell\.weight_hh has shape .* same sizes"):
        fit_tiny(tmp_path, pretrained=other)


def test_closed_form_decoders(tmp_path):
    entry = system("wiener", sizes={"lags": 3, "width": 10})
    trained, history = fit(entry, [SESSION], **NAMES | run_options(tmp_path))
    assert len(history) == 1
    assert history.val_r2.iloc[0] > 0.3
    path = tmp_path / "checkpoint.safetensors"
    save(trained, path)
    options = {"part": "val", "training": entry.training, "areas": ("M1",)}
    assert score(load(path).decoder, [SESSION], **options)[1] == history.val_r2.iloc[0]


def test_a_decoder_without_closed_form_needs_a_stage(tmp_path):
    with pytest.raises(TrainingError, match="TinyGRU is trained by gradient descent"):
        fit(system(TRUST), [SESSION], **NAMES | run_options(tmp_path))


def test_too_short_for_a_closed_form(tmp_path):
    entry = system("wiener", sizes={"lags": 300, "width": 10})
    with pytest.raises(TrainingError, match=r"tiny on indy_test, seed 0: .*too few"):
        fit(entry, [SESSION], **NAMES | run_options(tmp_path))
