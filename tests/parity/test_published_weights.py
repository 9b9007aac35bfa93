"""Published weights: original outputs, sparsities, and clear errors for wrong files."""

import hashlib
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spikereach.cli import app
from spikereach.evaluation import metrics
from spikereach.models import checkpoint
from spikereach.models.ann import ANN2, ANN3
from spikereach.models.checkpoint import load_parameters
from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.models.snn3 import SNN3
from spikereach.ops.common.record import recording
from spikereach.published import figures
from spikereach.published.importers import import_weights
from spikereach.published.weights import WeightsError, sources

DECODERS = {"ANN2": ANN2, "ANN3": ANN3, "SNN2": SNN2, "SNN3": SNN3, "tinyRSNN": RSNN}
SESSIONS = {"indy": "indy_20160622_01", "loco": "loco_20170210_03"}
CHANNELS = {"indy": 96, "loco": 192}
#: bytes of ANN3, which are published but not by session
FOOTPRINTS = {("ANN3", 96): (94_552,), ("ANN3", 192): (180_952,)}


def local(shared, source):
    """The copy of a published file in the shared folder."""
    folder = shared / "reference/weights"
    if source.system == "tinyRSNN":
        return folder / f"tinyRSNN/{source.session}-seed{source.seed}.pth"
    suffix = source.address.rpartition(".")[2]
    return folder / f"neurobench/{source.system}-{source.session}.{suffix}"


def find(system, session, seed=0):
    (source,) = (s for s in sources() if (s.system, s.session, s.seed) == (system, session, seed))
    return source


@pytest.fixture(scope="session")
def vectors(shared):
    with np.load(shared / "reference/vectors.npz") as archive:
        return dict(archive)


def run(decoder, vectors, monkey):
    bits = np.unpackbits(vectors[f"spikes_{monkey}"], axis=1)[:, : CHANNELS[monkey]]
    with torch.no_grad(), recording(decoder) as record:
        velocity, _ = decoder(torch.tensor(bits)[:, None].float())
    counts = {name: z.float().sum((0, 1)).numpy() for name, z in record.spikes.items()}
    return velocity[:, 0].numpy(), counts


def load(system, monkey, shared, seed=0):
    tensors = import_weights(system, local(shared, find(system, SESSIONS[monkey], seed)))
    decoder = DECODERS[system](channels=CHANNELS[monkey]).eval()
    load_parameters(decoder, tensors)
    return decoder


@pytest.mark.parametrize("monkey", SESSIONS)
@pytest.mark.parametrize("system", ["ANN2", "ANN3", "SNN2", "SNN3"])
def test_baselines_give_the_original_outputs(system, monkey, shared, vectors):
    velocity, counts = run(load(system, monkey, shared), vectors, monkey)
    key = f"{system}_{SESSIONS[monkey]}"
    np.testing.assert_allclose(velocity, vectors[f"{key}_velocity"], rtol=0, atol=1e-5)
    if system == "SNN2":
        np.testing.assert_array_equal(counts["hidden"], vectors[f"{key}_hidden_spike_counts"])


@pytest.mark.parametrize("monkey", SESSIONS)
def test_tiny_rsnn_gives_the_original_outputs(monkey, shared, vectors):
    velocity, counts = run(load("tinyRSNN", monkey, shared, seed=1), vectors, monkey)
    key = f"tinyRSNN_{SESSIONS[monkey]}_seed1_fp32"
    np.testing.assert_allclose(velocity, vectors[f"{key}_velocity"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(counts["hidden"], vectors[f"{key}_hidden_spike_counts"])


@pytest.mark.parametrize("monkey", SESSIONS)
def test_tiny_rsnn_in_half_precision_keeps_rates_and_velocity(monkey, shared, vectors):
    """Rounding makes single spikes part ways after some hundred steps, not the behaviour."""
    velocity, counts = run(load("tinyRSNN", monkey, shared, seed=1).half(), vectors, monkey)
    key = f"tinyRSNN_{SESSIONS[monkey]}_seed1_fp16"
    expected = vectors[f"{key}_velocity"]
    np.testing.assert_allclose(velocity[:100], expected[:100], rtol=0, atol=1e-3)
    error = ((velocity - expected) ** 2).sum(0)
    # Between the original's own runs in float32 and float16 this is 0.82 to 0.99.
    assert (1 - error / ((expected - expected.mean(0)) ** 2).sum(0)).min() > 0.75
    spikes = vectors[f"{key}_hidden_spike_counts"]
    assert counts["hidden"].sum() == pytest.approx(spikes.sum(), rel=0.02)
    assert np.corrcoef(counts["hidden"], spikes)[0, 1] > 0.99


def test_connection_sparsities_are_the_published_ones(shared):
    """Per session as sets: the published order of the seeds is not the seeds' numbers.

    The published figures have three or four decimals, some of them cut, not rounded.
    """
    table = json.loads((shared / "reference/published.json").read_text())["per_session"]
    for session, costs in table["tinyRSNN"].items():
        ours = []
        for seed in range(1, 6):
            tensors = import_weights("tinyRSNN", local(shared, find("tinyRSNN", session, seed)))
            weights = [t for name, t in tensors.items() if name.endswith(".weight")]
            zeros = sum(int((w == 0).sum()) for w in weights)
            ours.append(zeros / sum(w.numel() for w in weights))
        published = sorted(costs["connection_sparsity"])
        np.testing.assert_allclose(sorted(ours), published, rtol=0, atol=1.1e-4, err_msg=session)


def test_all_54_files_import_by_the_command_line(shared, repository, tmp_path):
    assert len(sources()) == 54
    assert len({source.sha256 for source in sources()}) == 54
    for number, source in enumerate(sources()):
        out = tmp_path / f"{number}.safetensors"
        path = local(shared, source)
        arguments = ["import-weights", f"{source.system}-imported", path, out]
        arguments += ["--config", repository / "config.yaml"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        found = checkpoint.load(out)
        assert (found.dataset, found.seed) == (source.session, source.seed)
        assert found.provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        (footprint, *others) = figures.per_session(source.system, "footprint").get(
            source.session, FOOTPRINTS.get((source.system, found.decoder.channels))
        )
        assert set(others) <= {footprint}
        assert metrics.footprint(found.decoder) == footprint
        # What the file holds is what the checkpoint holds, bit for bit.
        expected = import_weights(source.system, path)
        state = found.decoder.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


REPOSITORIES = {
    "fmi-basel/neural-decoding-RSNN": "c8a96667404c83664784217191a67ce95991eac7",
    "NeuroBench/neurobench": "e521c28f5798cb40bb9423758bf066dad53fe070",
}


def test_addresses_are_distinct_and_at_full_commits():
    """A short one may come to mean two commits."""
    assert len({source.address for source in sources()}) == 54
    for source in sources():
        name, commit = list(REPOSITORIES.items())[source.system != "tinyRSNN"]
        root = f"https://raw.githubusercontent.com/{name}/{commit}/"
        assert source.address.startswith(root)


def test_float16_values_stay_what_they_are(shared):
    source = find("tinyRSNN", SESSIONS["indy"], 1)
    tensors = import_weights("tinyRSNN", local(shared, source))
    assert {t.dtype for t in tensors.values()} == {torch.float16}


def test_wrong_files_give_clear_errors(shared, tmp_path):
    ann2 = local(shared, find("ANN2", SESSIONS["indy"]))
    with pytest.raises(WeightsError, match=r"tinyRSNN.*missing"):
        import_weights("tinyRSNN", ann2)
    with pytest.raises(WeightsError, match=r"SNN2.*unexpected"):
        import_weights("SNN2", ann2)
    with pytest.raises(WeightsError, match="no published weights for 'RTnet'"):
        import_weights("RTnet", ann2)
    with pytest.raises(WeightsError, match="does not exist"):
        import_weights("ANN2", tmp_path / "absent.pth")
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(ann2.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"damaged\.pth.*fetch it again"):
        import_weights("ANN2", damaged)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="not a state dict"):
        import_weights("ANN2", tmp_path / "list.pth")
    stork = torch.load(
        local(shared, find("tinyRSNN", SESSIONS["indy"], 1)), map_location="cpu", weights_only=True
    )
    stork["con1.dst.mem_param"] = stork["con1.dst.mem_param"] + 1
    torch.save(stork, tmp_path / "two.pth")
    with pytest.raises(WeightsError, match=r"con1\.dst\.mem_param"):
        import_weights("tinyRSNN", tmp_path / "two.pth")


def test_files_with_code_inside_are_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    torch.save({"fc1.weight": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(WeightsError, match=r"harmful\.pth"):
        import_weights("ANN2", tmp_path / "harmful.pth")
