"""Compression: grids, masks and formats hold, whatever the chain of steps."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spikereach.compression import COLUMNS, Run, compress, prune
from spikereach.compression.prune import magnitude_mask
from spikereach.config import FixedPoint, Half, Prune, Retrain, System
from spikereach.data.windows import Windows
from spikereach.models.checkpoint import load, save
from spikereach.models.zoo import build
from spikereach.ops.common.fixed_point import exponent_of, scaled
from spikereach.training.errors import TrainingError
from spikereach.training.losses import weight_matrices
from spikereach.training.scoring import score
from training_cases import (
    CHANNELS,
    TRUST,
    TinyGRU,
    bits,
    checkpoint,
    rsnn,
    run_options,
    session,
    stage,
    system,
)

SESSION = session(steps=800)
SHORT = stage(epochs=1, learning_rate=1e-3)
HALF = Half(kind="half")
RETRAIN = Retrain(kind="retrain", retrain=SHORT)


def pruning(**changes):
    recipe = {
        "start": 0.4, "step": 0.1, "fine_step": 0.05, "stop": 0.8, "max_drop": 0.02,
        "retrain": SHORT,
    }  # fmt: skip
    return Prune(kind="prune", **recipe | changes)


def fixed(weight_bits=(1, 7), buffer_bits=(1, 4), retrain=SHORT):
    return FixedPoint(
        kind="fixed_point", weight_bits=weight_bits, buffer_bits=buffer_bits, retrain=retrain
    )


def run(folder, *steps, start=None, **changes):
    options = run_options(folder, resume=folder / "resume") | changes
    start = start or checkpoint()
    entry = start.system.model_copy(update={"compression": steps})
    return compress(start, [SESSION], entry, system_name="small", **options)


def zeros(decoder):
    return {name: weight == 0 for name, weight in weight_matrices(decoder).items()}


# ---- Pruning ----------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(sparsity=st.floats(0, 0.999), seed=st.integers(0, 1000))
def test_the_smallest_weights_of_each_matrix_are_masked(sparsity, seed):
    torch.manual_seed(seed)
    decoder = TinyGRU(channels=CHANNELS)
    masks = magnitude_mask(decoder, sparsity, {})
    for name, weight in weight_matrices(decoder).items():
        dropped, kept = weight.abs()[~masks[name]], weight.abs()[masks[name]]
        assert len(dropped) == pytest.approx(sparsity * weight.numel(), abs=1)
        if len(dropped):
            assert dropped.max() <= kept.min()


def test_equal_weights_and_round_percentages():
    decoder = TinyGRU(channels=20, hidden=5)
    with torch.no_grad():
        decoder.cell.weight_ih.fill_(0.5)
    mask = magnitude_mask(decoder, 0.55, {})["cell.weight_ih"]
    assert (~mask).sum() == 165  # 0.55 * 300, though 0.55 * 300 < 165 in floating point
    assert not mask.flatten()[:165].any()


@pytest.fixture
def scripted(monkeypatch):
    """Pruning with a training R2 that a test gives by sparsity; returns the trials."""

    def install(score_of):
        trials = []

        def retrain(self, stage, sparsity=0.0):
            trials.append(sparsity)
            self.train_r2 = score_of(sparsity)

        monkeypatch.setattr("spikereach.compression.Run.retrain", retrain)
        return trials

    return install


@pytest.mark.parametrize(
    ("holds_up_to", "expected", "best"),
    [
        (1.0, [0.4, 0.5, 0.6, 0.7, 0.8], 0.8),
        (0.67, [0.4, 0.5, 0.6, 0.7, 0.65], 0.65),
        (0.62, [0.4, 0.5, 0.6, 0.7, 0.65], 0.6),
        (0.37, [0.4, 0.35], 0.35),
        (0.1, [0.4, 0.35], 0.0),
    ],
)
def test_pruning_goes_coarse_then_fine(tmp_path, scripted, holds_up_to, expected, best):
    trials = scripted(lambda sparsity: 0.7 if sparsity <= holds_up_to else 0.68)
    start = checkpoint(train_r2=0.7)
    shared = Run("tiny", start, [SESSION], run_options(tmp_path))
    prune.apply(shared, pruning())
    assert trials == expected
    if best == 0:
        assert shared.mask == {}
    else:
        expected_mask = magnitude_mask(start.decoder, best, {})
        assert shared.mask.keys() == expected_mask.keys()
        assert all(torch.equal(shared.mask[name], expected_mask[name]) for name in expected_mask)


@pytest.mark.parametrize(("before", "after", "kept"), [
    (0.50, 0.4901, True), (0.50, 0.4899, False), (-0.50, -0.5099, True), (-0.50, -0.5101, False),
])  # fmt: skip
def test_the_drop_is_relative(tmp_path, scripted, before, after, kept):
    trials = scripted(lambda sparsity: after if sparsity else before)
    run(tmp_path, pruning(start=0.5, stop=0.55), start=checkpoint(train_r2=before))
    assert trials == ([0.5] if kept else [0.5, 0.45])


def test_a_start_above_the_stop_prunes_nothing():
    with pytest.raises(ValueError, match=r"start is 0\.6 and stop 0\.5: nothing would be pruned"):
        pruning(start=0.6, stop=0.5)


def test_any_drop_is_accepted_where_none_is_the_largest(tmp_path, scripted):
    trials = scripted(lambda sparsity: -9.0 if sparsity else 0.5)
    start = checkpoint()
    shared = Run("tiny", start, [SESSION], run_options(tmp_path))
    prune.apply(shared, pruning(start=0.5, step=0.0, fine_step=0.0, stop=0.5, max_drop=None))
    assert trials == [0.5]
    assert shared.mask


def test_what_folding_removes_is_neither_pruned_nor_missed(tmp_path):
    """AEGRU's second encoder and its decoder, which only training needs."""
    recipe = stage(epochs=1, window=12, stride=12, learning_rate=1e-3)
    sizes = {"bins": 3, "width": 4, "latent": 6, "variance_units": 8}
    entry = system("aegru", sizes=sizes, finetune=recipe)
    start = checkpoint(build(entry, CHANNELS), entry)
    once = pruning(scope="global", start=0.5, stop=0.5, max_drop=None, retrain=recipe)
    pruned, _ = run(tmp_path / "once", once, start=start)
    zero = zeros(pruned.decoder)
    deployed = {"encoder.weight", "cell.weight_ih", "cell.weight_hh", "readout.weight"}
    assert {name for name in zero if zero[name].any()} == deployed
    numbers = 6 * CHANNELS + 2 * 18 * 6 + 2 * 6
    assert sum(zero[name].sum() for name in deployed) == numbers // 2
    quantised, _ = run(tmp_path / "both", once, fixed(retrain=recipe), start=start)
    found = zeros(quantised.decoder)
    assert found.keys() == deployed
    assert all(found[name][zero[name]].all() for name in deployed)


def test_pruned_weights_stay_zero_through_every_later_step(tmp_path):
    start = checkpoint(train_r2=-100.0)  # whatever it costs
    pruned, history = run(tmp_path / "once", pruning(start=0.5, stop=0.5), start=start)
    expected = zeros(pruned.decoder)
    for name, weight in weight_matrices(pruned.decoder).items():
        assert expected[name].sum() == weight.numel() // 2
    assert history.sparsity.tolist() == [0.5]
    chain = pruning(start=0.5, stop=0.5), RETRAIN, fixed()
    later, history = run(tmp_path / "chain", *chain, start=start)
    for name, zero in zeros(later.decoder).items():
        assert zero[expected[name]].all()
    assert history.step.tolist() == ["1-prune", "2-retrain", "3-fixed_point"]
    assert list(history.columns) == list(COLUMNS)


def test_the_unpruned_decoder_stays_where_no_trial_is_good(tmp_path):
    start = checkpoint(train_r2=0.999)
    compressed, history = run(tmp_path, pruning(), start=start)
    assert bits(compressed.decoder) == bits(start.decoder)
    assert history.sparsity.tolist() == [0.4, 0.35]
    assert compressed.train_r2 == 0.999


def test_pruning_needs_the_training_r2_to_compare_with(tmp_path):
    with pytest.raises(TrainingError, match="no training R2: train it again"):
        run(tmp_path, pruning(), start=checkpoint(train_r2=None))


def test_all_matrices_may_be_ranked_together():
    torch.manual_seed(0)
    decoder = TinyGRU(channels=CHANNELS)
    with torch.no_grad():
        decoder.readout.weight.mul_(100)
    masks = magnitude_mask(decoder, 0.5, {}, "global")
    weights = weight_matrices(decoder)
    everything = torch.cat([weight.abs().flatten() for weight in weights.values()])
    kept = torch.cat([masks[name].flatten() for name in weights])
    assert (~kept).sum() == len(everything) // 2
    assert everything[~kept].max() <= everything[kept].min()
    assert masks["readout.weight"].all()


# ---- Fixed point and half precision -----------------------------------------------------


def assert_on_grid(values, bits_, name):
    integer, fractional = bits_
    numbers = values.detach().double().numpy() * 2**fractional
    assert (numbers == np.round(numbers)).all(), name
    assert numbers.min() >= -(2 ** (integer + fractional)), name
    assert numbers.max() <= 2 ** (integer + fractional) - 1, name


@pytest.mark.parametrize("bits_", [(1, 7), (0, 3), (2, 1)])
def test_fixed_point_weights_lie_on_the_grid(tmp_path, bits_):
    start = checkpoint(build(rsnn(), CHANNELS), rsnn())
    with torch.no_grad():
        start.decoder.input.weight.mul_(30)  # beyond the grid
    compressed, _ = run(tmp_path, fixed(bits_), start=start)
    for name, parameter in compressed.decoder.named_parameters():
        if name not in compressed.decoder.unstored:
            assert_on_grid(parameter, bits_, name)
    assert compressed.decoder.weight_format == bits_
    assert compressed.decoder.buffer_format == (1, 4)
    assert compressed.decoder.state_dict().keys() == start.decoder.state_dict().keys()
    assert not torch.nn.utils.parametrize.is_parametrized(compressed.decoder)


@pytest.mark.parametrize("bits_", [2, 4])
def test_scaled_weights_are_whole_numbers_times_a_power_of_two(tmp_path, bits_):
    start = checkpoint(build(rsnn(), CHANNELS), rsnn())
    with torch.no_grad():
        start.decoder.input.weight.mul_(30)  # another scale than the other matrices
    compressed, _ = run(tmp_path, fixed(bits_, (2, 7)), start=start)
    save(compressed, tmp_path / "scaled.safetensors")
    decoder = load(tmp_path / "scaled.safetensors").decoder
    assert decoder.formats == (bits_, (2, 7))
    steps = {}
    for name, weight in weight_matrices(decoder).items():
        mantissas, exponents = np.frexp(weight.detach().numpy()[weight.numpy(force=True) != 0])
        steps[name] = 2.0 ** (exponents[mantissas == 0.5].min() - 1)
        whole = weight.detach() / steps[name]
        assert (whole == whole.round()).all(), name
        assert whole.abs().max() <= 2 ** (bits_ - 1) - 1, name
    assert steps["input.weight"] > steps["recurrent.weight"]
    for decays in (decoder._hidden_decays(), decoder._readout_decays()):
        for name, decay in decays._asdict().items():
            assert_on_grid(decay, (2, 7), name)
    spikes = torch.tensor(SESSION.spikes[:200])
    velocity, _ = decoder(spikes.unsqueeze(1))
    step = decoder.standardised_streamer()
    assert np.array_equal([step(row).copy() for row in spikes.numpy()], velocity[:, 0].detach())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), bits_=st.integers(2, 8))
def test_a_scale_is_the_best_power_of_two(seed, bits_):
    """Of all within 40 octaves, also where a few weights are far larger than the rest."""
    weight = np.random.default_rng(seed).standard_cauchy(40)
    largest = 2 ** (bits_ - 1) - 1
    scales = 2.0 ** np.arange(-20, 21)
    rounded = [np.clip(np.round(weight / s), -largest, largest) * s for s in scales]
    errors = [((each - weight) ** 2).sum() for each in rounded]
    found = exponent_of(torch.tensor(weight), bits_)
    assert 2.0**found == scales[np.argmin(errors)]
    assert np.array_equal(scaled(torch.tensor(weight), bits_, found), rounded[np.argmin(errors)])


def test_scaled_weights_need_a_format_of_constants():
    with pytest.raises(ValidationError, match=r"`weight_bits: 4` needs `buffer_bits`"):
        fixed(4, None)


def test_of_learned_time_constants_the_decays_lie_on_the_grid(tmp_path):
    """And what an RSNN stores between two steps, from its first state on."""
    start = checkpoint(build(rsnn(), CHANNELS), rsnn())
    with torch.no_grad():
        start.decoder.mem_param[0] = 9.5  # beyond the grid: 190 ms, of which the decay is 0.979
    compressed, _ = run(tmp_path, fixed((1, 6), (2, 5)), start=start)
    decoder = compressed.decoder
    assert decoder.mem_param[0] > 9
    for of in (decoder._hidden_decays(), decoder._readout_decays()):
        for name, decay in of._asdict().items():
            assert_on_grid(decay, (1, 6), name)
    spikes = torch.tensor(SESSION.spikes[:50]).unsqueeze(1)
    _, after = decoder(spikes)
    for layer in (*decoder.init_state(1), *after):
        for name in ("v", "i"):
            assert_on_grid(getattr(layer, name), (2, 5), name)
        assert_on_grid(layer.arriving, (20, 6), "arriving")


def test_of_fixed_time_constants_the_decay_lies_on_the_grid(tmp_path):
    entry = system("snn2", sizes={"hidden": 8}, finetune=SHORT)
    start = checkpoint(build(entry, CHANNELS), entry)
    decoder = run(tmp_path, fixed((1, 4), (2, 5)), start=start)[0].decoder
    _, after = decoder(torch.tensor(SESSION.spikes[:50]).float().unsqueeze(1))
    assert_on_grid(after.hidden.v, (2, 5), "hidden")
    assert_on_grid(after.output, (2, 5), "output")
    assert decoder.lif1.beta == torch.tensor(0.96)
    alone = after._replace(hidden=after.hidden._replace(v=torch.ones(1, 8), z=torch.zeros(1, 8)))
    _, later = decoder(torch.zeros(1, 1, CHANNELS), alone)
    assert (later.hidden.v == 30 / 32).all()  # 0.96 is rounded to 15 / 16


def test_training_knows_the_grid(tmp_path):
    """The history's validation R2 is that of the decoder one gets: both are quantised."""
    compressed, history = run(tmp_path, fixed((1, 3), (1, 2), stage(epochs=3)))
    options = {"training": compressed.system.training, "areas": ("M1",)}
    _, r2 = score(compressed.decoder, [SESSION], part="val", **options)
    assert r2 == history.val_r2.max()


def test_quantisation_aware_training_beats_rounding(tmp_path):
    trained, _ = run(tmp_path / "float", Retrain(kind="retrain", retrain=stage(epochs=8)))
    recipe = fixed((1, 2), (1, 4), stage(epochs=5))
    aware, _ = run(tmp_path / "aware", recipe, start=trained)
    rounded = copy.deepcopy(trained.decoder)
    rounded.buffer_format = (1, 4)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_((parameter.clamp(-2, 1.75) * 4).round() / 4)
    options = {"part": "train", "training": trained.system.training, "areas": ("M1",)}
    assert score(aware.decoder, [SESSION], **options)[1] > (score(rounded, [SESSION], **options)[1])


def test_batch_norms_are_folded_before_quantisation(tmp_path):
    sizes = {
        "blocks": 1, "kernel": 3, "conv_channels": 4, "lif_layers": 1, "lif_units": 5, "dropout": 0,
    }  # fmt: skip
    entry = system("hybrid", sizes=sizes, finetune=SHORT)
    for step in (fixed(), HALF):
        start = checkpoint(build(entry, CHANNELS), entry)
        compressed, _ = run(tmp_path / step.kind, step, start=start)
        assert compressed.decoder.folded
        assert not start.decoder.folded
        save(compressed, tmp_path / "compressed.safetensors")
        loaded = load(tmp_path / "compressed.safetensors")
        assert bits(loaded.decoder) == bits(compressed.decoder)


def test_half_precision_round_trip(tmp_path):
    start = checkpoint(build(rsnn(), CHANNELS), rsnn())
    compressed, history = run(tmp_path, HALF, start=start)
    assert history.empty
    assert list(history.columns) == list(COLUMNS)
    for name, parameter in start.decoder.named_parameters():
        found = compressed.decoder.get_parameter(name)
        assert found.dtype == torch.float16
        expected = parameter.detach().numpy().astype(np.float16)
        assert np.array_equal(found.detach().numpy(), expected)
    save(compressed, tmp_path / "half.safetensors")
    loaded = load(tmp_path / "half.safetensors")
    assert bits(loaded.decoder) == bits(compressed.decoder)
    spikes = torch.tensor(SESSION.spikes[:50]).float().unsqueeze(1)
    with torch.no_grad():
        assert torch.equal(loaded.decoder(spikes)[0], compressed.decoder(spikes)[0])


def test_values_beyond_half_precision_are_an_error(tmp_path):
    start = checkpoint()
    with torch.no_grad():
        start.decoder.readout.weight[0, 0] = 1e5
    with pytest.raises(TrainingError, match=r"readout\.weight has values beyond 65504"):
        run(tmp_path, HALF, start=start)


# ---- The chain --------------------------------------------------------------------------

CHAIN = (pruning(start=0.4, stop=0.5, max_drop=0.5), RETRAIN, fixed())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_chain_repeats_itself_and_leaves_its_start_alone(tmp_path, seed):
    start = checkpoint()
    before = bits(start.decoder)
    one, first = run(tmp_path / "one", *CHAIN, start=start, seed=seed)
    two, second = run(tmp_path / "two", *CHAIN, start=start, seed=seed)
    other, _ = run(tmp_path / "other", *CHAIN, start=start, seed=seed + 1)
    assert bits(one.decoder) == bits(two.decoder) != bits(other.decoder)
    assert first.drop(columns="seconds").equals(second.drop(columns="seconds"))
    assert bits(start.decoder) == before
    assert one.seed == seed


def test_an_interrupted_chain_continues_without_repeating_steps(tmp_path, monkeypatch):
    expected, history = run(tmp_path / "whole", *CHAIN)
    batch, calls = Windows.batch, []

    def failing(self, *args, **options):
        calls.append(None)
        if len(calls) in (2, 4, 7):
            raise KeyboardInterrupt
        return batch(self, *args, **options)

    monkeypatch.setattr(Windows, "batch", failing)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", *CHAIN)
    found, again = run(tmp_path / "cut", *CHAIN)
    assert bits(found.decoder) == bits(expected.decoder)
    assert again.drop(columns="seconds").equals(history.drop(columns="seconds"))
    updates = len(history) * 2  # 400 training steps: 15 windows, 2 batches
    assert len(calls) < updates + 3 * 2  # at most the interrupted epochs twice


def test_a_checkpoint_from_file_compresses_to_the_same_bits(tmp_path):
    save(checkpoint(), tmp_path / "start.safetensors")
    loaded = load(tmp_path / "start.safetensors", trust=[TRUST])
    one, _ = run(tmp_path / "memory", *CHAIN)
    two, _ = run(tmp_path / "file", *CHAIN, start=loaded)
    assert bits(one.decoder) == bits(two.decoder)


@pytest.mark.parametrize("steps", [(HALF, RETRAIN), (fixed(), HALF), (HALF, pruning())])
def test_nothing_follows_quantisation(steps):
    entry = checkpoint().system.model_dump(mode="json")
    entry["compression"] = [step.model_dump(mode="json") for step in steps]
    with pytest.raises(ValidationError, match=f"put it before `{steps[0].kind}`"):
        System.model_validate(entry)


def test_a_compressed_checkpoint_describes_its_own_recipe(tmp_path):
    start = checkpoint()
    entry = System(
        architecture="rsnn", sizes={"hidden": 3}, areas=("S1",), spiking=True, base="tiny",
        compression=(HALF,),
    )  # fmt: skip
    options = run_options(tmp_path, resume=tmp_path / "resume")
    made, _ = compress(start, [SESSION], entry, system_name="small", **options)
    save(made, tmp_path / "small.safetensors")
    for found in (made, load(tmp_path / "small.safetensors", trust=TRUST)):
        assert (found.system_name, found.system.base) == ("small", "tiny")
        assert found.system.training is None
        assert found.system.compression == (HALF,)
        for key in ("architecture", "sizes", "areas"):  # as trained, whatever the entry says
            assert getattr(found.system, key) == getattr(start.system, key)
    assert (start.system_name, start.system.base) == ("tiny", None)


def test_a_system_with_a_base_is_not_compressed_itself(tmp_path):
    entry = system().model_copy(update={"training": None, "base": "tiny"})
    with pytest.raises(TrainingError, match="compress the checkpoint of its base"):
        run(tmp_path, HALF, start=checkpoint(entry=entry))


def test_no_steps_change_nothing(tmp_path):
    start = checkpoint()
    compressed, history = run(tmp_path, start=start)
    assert bits(compressed.decoder) == bits(start.decoder)
    assert history.empty


@pytest.mark.parametrize("bits", [1, 9, "x", [4]])
def test_bits_that_are_neither_a_pair_nor_a_number_are_refused_in_one_sentence(bits):
    with pytest.raises(ValidationError, match="all bits as one number, 2 to 8") as caught:
        fixed(weight_bits=bits)
    assert caught.value.error_count() == 1
