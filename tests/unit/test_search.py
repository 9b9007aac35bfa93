"""The hyperparameter search: repeatable, resumable, pruned; its journal; what is made of it."""

import copy
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spikereach.compression import compress
from spikereach.config import ConfigError, Search, System, overlay, validate
from spikereach.evaluation.footprint import deployment
from spikereach.reporting import search as reporting
from spikereach.reporting.collect import ResultError
from spikereach.reporting.documents import best_system, frontier_systems
from spikereach.reporting.make import write
from spikereach.reporting.plots import search as plots
from spikereach.reporting.search import importance
from spikereach.training.fit import fit
from spikereach.training.losses import weight_matrices
from spikereach.training.scoring import score
from spikereach.workflow import search as search_module
from spikereach.workflow.search import SearchError, open_study, run_trial
from training_cases import CHANNELS, rsnn, session, stage, system

SPACE = {
    "units": {"paths": ["sizes.hidden"], "low": 2, "high": 10, "step": 2},
    "L": {"paths": ["training.pretrain.window", "training.finetune.window"], "low": 40, "high": 60},
}
STUDY = "study"


def settings(**changes) -> Search:
    block = {"system": "tiny", "session": "indy_test", "seed": 0, "trials": 4, "parallel": 1}
    block |= {"startup_trials": 1, "warmup_epochs": 1, "space": SPACE}
    return Search.model_validate(block | changes)


def run(folder, number, search=None, of=None, on=None):
    return run_trial(
        search or settings(),
        of or rsnn(),
        on or session(steps=800),
        number=number,
        journal=folder / "journal.log",
        study=STUDY,
        resume=folder / f"resume{number}",
        device="cpu",
        progress=False,
    )


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Trials 0 to 3, one after the other."""
    folder = tmp_path_factory.mktemp("four")
    return folder, [run(folder, number) for number in range(4)]


def test_a_trial_says_what_it_is(four):
    for number, trial in enumerate(four[1]):
        assert trial["number"] == number
        assert trial["parameters"]["units"] in range(2, 11, 2)
        assert 40 <= trial["parameters"]["L"] <= 60
        assert np.isfinite(trial["r2"])
        assert trial["state"] == "complete" or trial["epochs"] < 3
        hidden = trial["parameters"]["units"]
        weights = 6 * hidden + hidden**2 + 2 * hidden
        assert trial["deployment_bytes"] >= 4 * weights
    assert len({tuple(trial["parameters"].values()) for trial in four[1]}) > 1


def test_search_is_repeatable(four, tmp_path):
    assert [run(tmp_path, number) for number in range(4)] == four[1]


def test_seed_counts(four, tmp_path):
    assert run(tmp_path, 0, settings(seed=1)) != four[1][0]


def test_order_in_time_of_parallel_trials_does_not_matter(tmp_path):
    """Every order that the workflow allows: trial n waits for those up to n - 2."""
    search = settings(parallel=2)
    outcomes = []
    for name, order in {"a": (0, 1, 2, 3), "b": (1, 0, 3, 2)}.items():
        trials = {n: run(tmp_path / name, n, search) for n in order}
        outcomes.append([trials[n] for n in range(4)])
    assert outcomes[0] == outcomes[1]


def test_finished_trial_is_read_and_not_run_again(four, monkeypatch):
    monkeypatch.setattr(search_module, "fit", None)
    folder, trials = four
    assert run(folder, 2) == trials[2]


def test_earlier_trials_must_be_there(tmp_path):
    with pytest.raises(SearchError, match=r"journal.log lacks the earlier trials 0, 1: delete"):
        run(tmp_path, 2)


def test_lagging_trial_is_pruned_where_its_curve_says_so(tmp_path, monkeypatch):
    """Against a median of 1, a trial ends after the first epoch that may be judged."""
    first = run(tmp_path, 0, settings(warmup_epochs=0))
    assert first["state"] == "complete"
    assert first["epochs"] == 3
    study = open_study(tmp_path / "journal.log", STUDY)
    better = copy.deepcopy(study.trials[0])
    better.intermediate_values = {epoch: 1.0 for epoch in (1, 2, 3)}
    better.values = [1.0]
    for number in (1, 2):
        better.set_user_attr("number", number)
        study.add_trial(better)
    monkeypatch.setattr(search_module, "compress", None)  # it has ended before that
    pruned = run(tmp_path, 3, settings(warmup_epochs=0))
    monkeypatch.undo()
    assert (pruned["state"], pruned["epochs"]) == ("pruned", 1)
    later = run(tmp_path / "later", 0, settings(warmup_epochs=0))
    assert later == first, "another folder, the same trial"


def test_exploding_trial_fails_and_the_search_goes_on(tmp_path):
    explosive = system("rsnn", sizes={"hidden": 8}, finetune=stage(learning_rate=1e36))
    failed = run(tmp_path, 0, of=explosive)
    assert (failed["state"], failed["r2"]) == ("failed", None)
    assert "exploded" in failed["message"]
    assert run(tmp_path, 1)["state"] == "complete"
    with pytest.raises(ResultError, match=r"no trial was completed; .*exploded"):
        reporting.best([failed])


# ---- Compression ------------------------------------------------------------------------


def squeezed() -> System:
    """Half of the weights pruned, then fixed point."""
    retrain = stage(epochs=2, learning_rate=0.005)
    prune = {"kind": "prune", "start": 0.5, "step": 0, "fine_step": 0, "stop": 0.5}
    prune |= {"max_drop": None, "retrain": retrain}
    fixed = {"kind": "fixed_point", "weight_bits": [1, 6], "buffer_bits": [2, 8]}
    entry = rsnn().model_dump() | {"compression": [prune, fixed | {"retrain": retrain}]}
    return System.model_validate(entry)


BITS = {
    "bits": {"paths": ["compression.1.weight_bits"], "choices": [2, 8]},
    "zeros": {
        "paths": ["compression.0.start", "compression.0.stop"],
        "low": 0.2,
        "high": 0.8,
    },
}


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """Trials of bits and sparsity, until one has few bits and one has many."""
    folder, search = tmp_path_factory.mktemp("bits"), settings(space=BITS, warmup_epochs=9)
    trials = []
    while len({trial["parameters"]["bits"] for trial in trials}) < 2:
        trials.append(run(folder, len(trials), search, squeezed()))
    return search, trials


def test_a_trial_is_what_the_workflow_makes_of_its_system(bits, tmp_path):
    """Trained and compressed by its configuration, then scored as in training."""
    search, trials = bits
    binned = session(steps=800)
    for trial in trials:
        found = search.configured(squeezed(), trial["parameters"])
        seed, _ = np.random.SeedSequence([search.seed, trial["number"]]).generate_state(2).tolist()
        folder = tmp_path / str(trial["number"])
        common = {"system_name": "tiny", "seed": seed, "device": "cpu", "progress": False}
        made, _ = fit(
            found,
            [binned],
            dataset=binned.name,
            stage="finetune",
            resume=folder / "training.safetensors",
            **common,
        )
        made, _ = compress(made, [binned], found, resume=folder, **common)
        assert made.decoder.weight_format == trial["parameters"]["bits"]
        for matrix in weight_matrices(made.decoder).values():
            assert (matrix == 0).sum() >= int(trial["parameters"]["zeros"] * matrix.numel())
        _, r2 = score(made.decoder, [binned], part="val", training=found.training, areas=("M1",))
        assert trial["r2"] == pytest.approx(r2, abs=1e-5)
        assert trial["deployment_bytes"] == deployment(made.decoder)["total_bytes"]
        assert trial["energy_nj"] == pytest.approx(0.1e-3 * trial["acs"])  # Horowitz 2014


def test_fewer_bits_are_fewer_bytes(bits):
    _, trials = bits
    sizes = {each["parameters"]["bits"]: each["deployment_bytes"] for each in trials}
    weights = CHANNELS * 8 + 8 * 8 + 2 * 8
    assert sizes[8] - sizes[2] == weights * 6 // 8


# ---- Several objectives -----------------------------------------------------------------

ALL = ("r2", "bytes", "energy", "latency")


@pytest.fixture(scope="module")
def costly(tmp_path_factory):
    """Four trials of a search with all objectives, two of them side by side."""
    folder, search = tmp_path_factory.mktemp("costly"), settings(parallel=2, objectives=ALL)
    return folder, search, [run(folder, number, search) for number in range(4)]


def test_costs_are_those_of_the_validation_part(costly):
    _, _, trials = costly
    for trial in trials:
        assert trial["macs"] == 0
        energy = (4.6 * trial["macs"] + 0.9 * trial["acs"]) / 1e3  # float32, Horowitz 2014
        assert trial["energy_nj"] == pytest.approx(energy)
        assert 0 < trial["acs"] <= trial["dense"]


def test_nothing_follows_from_the_test_part(costly, tmp_path):
    binned = session(steps=800)
    begin = binned.split("neurobench").test.start
    binned.spikes[begin:] = np.random.default_rng(1).integers(0, 2, binned.spikes[begin:].shape)
    binned.velocity[begin:] *= -1
    _, search, trials = costly
    assert run(tmp_path, 0, search, on=binned) == trials[0]
    binned.spikes[begin - 50 : begin] = 1
    assert run(tmp_path / "val", 0, search, on=binned)["acs"] != trials[0]["acs"]


def test_order_in_time_of_several_objectives(costly, tmp_path):
    _, search, trials = costly
    again = {number: run(tmp_path, number, search) for number in (1, 0, 3, 2)}
    assert [again[number] for number in range(4)] == trials


def test_values_are_drawn_from_all_objectives(costly, tmp_path):
    """Trial 3 knows trials 0 and 1, here of equal R2: which of them is the smaller one leads it
    elsewhere where bytes are an objective, and nowhere else."""
    folder, search, _ = costly
    study = open_study(folder / "journal.log", STUDY)
    known = {each.user_attrs["number"]: each for each in study.trials}
    drawn = {}
    for name, objectives in {"r2": ("r2",), "both": ("r2", "bytes")}.items():
        for sizes in ((1, 9), (9, 1)):
            other = open_study(tmp_path / name / str(sizes) / "journal.log", STUDY)
            for number, size in enumerate(sizes):
                each = copy.deepcopy(known[number])
                each.values = [0.5]
                each.set_user_attr("deployment_bytes", size)
                other.add_trial(each)
            made = search.model_copy(update={"objectives": objectives})
            found = run(tmp_path / name / str(sizes), 3, made)
            drawn[name, sizes] = found["parameters"]
    assert drawn["r2", (1, 9)] == drawn["r2", (9, 1)]
    assert drawn["both", (1, 9)] != drawn["both", (9, 1)]


@pytest.mark.parametrize(("objectives", "state"), [(("r2",), "pruned"), (ALL, "complete")])
def test_a_small_decoder_is_not_stopped_for_lagging_behind_large_ones(tmp_path, objectives, state):
    search = settings(warmup_epochs=0, objectives=objectives)
    first = run(tmp_path, 0, search)
    study = open_study(tmp_path / "journal.log", STUDY)
    better = copy.deepcopy(study.trials[0])
    better.intermediate_values = {epoch: 1.0 for epoch in (1, 2, 3)}
    better.values = [1.0]
    better.set_user_attr("deployment_bytes", 10 * first["deployment_bytes"])
    for number in (1, 2):
        better.set_user_attr("number", number)
        study.add_trial(better)
    outcome = run(tmp_path, 3, search)
    assert outcome["state"] == state
    assert outcome["energy_nj"] > 0, "of a pruned one, too"


def test_numbers_and_choices_are_drawn(tmp_path):
    rate = {"paths": ["training.finetune.learning_rate"], "low": 1e-3, "high": 1.0, "log": True}
    space = {
        "rate": rate,
        "slope": {"paths": ["sizes.slope"], "low": 1.0, "high": 20.0},  # not in `sizes` so far
        "loss": {"paths": ["training.finetune.loss"], "choices": ["mse", "rmse"]},
    }
    search = settings(space=space)
    assert Search.model_validate_json(search.model_dump_json()) == search, "as a job gets it"
    assert search.space["slope"].whole is False
    trials = [run(tmp_path, number, search) for number in range(2)]
    assert run(tmp_path, 1, search) == trials[1], "read from the journal"
    for trial in trials:
        drawn = trial["parameters"]
        assert 1e-3 <= drawn["rate"] <= 1
        assert 1 <= drawn["slope"] <= 20
        assert drawn["loss"] in ("mse", "rmse")
        found = search.configured(rsnn(), drawn)
        assert found.sizes["slope"] == drawn["slope"]
        assert found.training.finetune.learning_rate == drawn["rate"]


# ---- Kills, locks, damage ---------------------------------------------------------------

# Runs trials 0 and 1 of a system; kills itself, as kill -9 would, at the COUNT-th write to disk.
SCRIPT = """
import os, signal, sys
from pathlib import Path

import test_search

count, calls, fsync = int(sys.argv[2]), 0, os.fsync


def killed(file):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return fsync(file)


os.fsync = killed
for number in (0, 1):
    test_search.run(Path(sys.argv[1]), number, of=getattr(test_search, sys.argv[3])())
"""


# A trial here writes: the study (first one only), three epochs, two per retraining, its outcome.
@pytest.mark.parametrize(
    ("count", "of"),
    [(4, rsnn), (7, rsnn), (8, squeezed)],
    ids=["in training", "in the next trial", "in compression"],
)
def test_killed_trial_goes_on(tmp_path, count, of):
    whole = [run(tmp_path / "whole", number, of=of()) for number in (0, 1)]
    here = Path(__file__).resolve().parent
    path = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(count), of.__name__],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert process.returncode == -signal.SIGKILL
    assert [run(tmp_path, number, of=of()) for number in (0, 1)] == whole
    # A trial left running would stand in the journal.
    states = [trial.state.name for trial in open_study(tmp_path / "journal.log", STUDY).trials]
    assert set(states) <= {"COMPLETE", "PRUNED"}
    assert len(states) == 2


def test_lock_of_a_killed_job_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(search_module, "GRACE_S", 1)
    (tmp_path / "journal.log.lock").touch()
    with pytest.warns(UserWarning, match="grace_period"):
        open_study(tmp_path / "journal.log", STUDY)
    assert not (tmp_path / "journal.log.lock").exists()


def test_unfinished_last_line_is_cut_off(four, tmp_path):
    content = (four[0] / "journal.log").read_bytes()
    damaged = tmp_path / "journal.log"
    damaged.write_bytes(content + content.splitlines()[-1][:20])
    assert len(open_study(damaged, STUDY).trials) == 4
    assert damaged.read_bytes().startswith(content)


def test_damaged_journal_is_named(four, tmp_path):
    damaged = tmp_path / "journal.log"
    damaged.write_bytes(b"no journal\n" + (four[0] / "journal.log").read_bytes())
    with pytest.raises(SearchError, match=r"journal.log is damaged .*: delete the folder"):
        open_study(damaged, STUDY)


def test_studies_share_a_file_but_no_trials(four, tmp_path):
    folder, _ = four
    journal = tmp_path / "journal.log"
    journal.write_bytes((folder / "journal.log").read_bytes())
    assert open_study(journal, "another").trials == []
    assert len(open_study(journal, STUDY).trials) == 4


# ---- The space --------------------------------------------------------------------------


def test_values_reach_their_keys():
    found = settings().configured(rsnn(), {"units": 4, "L": 50})
    assert found.sizes["hidden"] == 4
    assert found.training.finetune.window == 50
    assert found.training.pretrain is None, "a path into null is passed over"


def test_values_reach_entries_of_lists(repository):
    small = validate(repository_config(repository)).systems["smallRSNN"]
    space = BITS | {"tau": {"paths": ["sizes.readouts.2.0"], "low": 50.0, "high": 200.0}}
    found = settings(space=space).configured(small, {"bits": 4, "zeros": 0.25, "tau": 70.0})
    prune, fixed = found.compression
    assert (prune.start, prune.stop) == (0.25, 0.25)
    assert (fixed.weight_bits, fixed.buffer_bits) == (4, (4, 8))
    assert found.sizes["readouts"] == [[50.0, 10.0], [20.0, 5.0], [70.0, 30.0]]
    assert fixed.retrain == small.compression[1].retrain
    content = yaml.safe_load((repository / "config.yaml").read_text())
    bits = {"space": {"bits": {"paths": ["compression.1.weight_bits"], "low": 2, "high": 9}}}
    content["search"]["RTnet"] |= bits | {"system": "smallRSNN"}
    with pytest.raises(ConfigError, match=r"compression\.1\.fixed_point\.weight_bits: .* as one "):
        validate(content)


def repository_config(repository, **search):
    content = yaml.safe_load((repository / "config.yaml").read_text())
    return overlay(content, {"search": {"RTnet": search}})


def test_a_parameter_that_nothing_takes():
    space = {"L": {"paths": ["training.pretrain.window"], "low": 50, "high": 100}}
    with pytest.raises(ValueError, match=r"space\.L: nothing takes the value: in tiny"):
        settings(space=space).configured(rsnn(), {"L": 50})


def test_configured_space_fits_its_system(repository):
    config = validate(repository_config(repository))
    search = config.search["RTnet"]
    assert search.trials == 63
    assert set(search.space) == {"N_C", "k", "N_L", "N_LIF", "L_seq"}
    lowest = {name: each.low for name, each in search.space.items()}
    found = search.configured(config.systems["RTnet"], lowest)
    assert found.training.pretrain.window == found.training.finetune.window == 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {"k": {"paths": ["sizes.kernle"]}}}, "RTnet has no key sizes.kernle"),
        ({"space": {"k": {"paths": ["size.kernel"]}}}, "RTnet has no key size.kernel"),
        (
            {"space": {"k": {"paths": ["sizes.kernel.x"]}}},
            r"RTnet has no key sizes\.kernel\.x; sizes\.kernel is \d+, with nothing in it",
        ),
        (
            {"space": {"x": {"paths": ["sizes.kernel"], "low": 3, "high": 9}}},
            r"sizes\.kernel is listed twice",
        ),
        (
            {"space": {"x": {"paths": ["training.finetune.loss.x"], "choices": [1, 2]}}},
            "is 'mse', with nothing in it",
        ),
        ({"system": "AEGRU"}, r"'AEGRU' has a recipe with part: train\+val"),
        ({"space": {"k": {"paths": ["architecture.x"]}}}, "RTnet has no key architecture.x"),
        (
            {"space": {"k": {"paths": ["compression.1.kind"]}}},
            r"RTnet has no key compression\.1\.kind; compression is a list of 1, numbered from 0",
        ),
        (
            {"space": {"k": {"paths": ["compression.half.kind"]}}},
            r"no key compression\.half\.kind; compression is a list of 1, numbered from 0",
        ),
        ({"space": {"k": {"paths": ["compression.0.bits"]}}}, r"compression\.0\.bits; known: kind"),
        ({"space": {"k": {"paths": ["compression.-1.kind"]}}}, "numbered from 0"),
        ({"space": {"k": {"paths": ["compression.0.kind"]}}}, r"space: compression\.0: "),
        ({"space": {"L_seq": {"low": -512}}}, "window"),
        ({"space": {"k": {"high": 4}}}, "a multiple of `step`"),
        ({"space": {"x": {"paths": ["sizes.kernel"], "choices": [3]}}}, "at least 2 items"),
        ({"space": {"L_seq": {"low": -512}}}, r"search\.RTnet\.space: training\.pretrain\.window"),
        ({"space": {"k": {"paths": ["sizes.kernle"]}}}, r"search\.RTnet\.space\.k: RTnet has no"),
        ({"system": "sRTnet"}, "'sRTnet' has no fine-tuning itself"),
        ({"system": "RTnett"}, "names the system 'RTnett'"),
        ({"objectives": ["bytes"]}, "`objectives` needs `r2`"),
        ({"objectives": ["r2", "r2"]}, "none twice"),
        ({"objectives": ["r2", "size"]}, "objectives"),
        ({"space": {"k": {"choices": [3, 5]}}}, "`choices` stand in place of"),
        ({"space": {"x": {"paths": ["sizes.kernel"]}}}, "give `low` and `high`, or `choices`"),
        ({"space": {"x": {"paths": ["sizes.kernel"], "choices": [3, 3]}}}, "a value twice"),
        ({"space": {"L_seq": {"log": True}}}, "whole numbers without `log`"),
        (
            {"space": {"x": {"paths": ["sizes.dropout"], "low": 0.0, "high": 0.5, "log": True}}},
            "needs a `low` above 0",
        ),
        (
            {"space": {"x": {"paths": ["training.finetune.loss"], "choices": ["mse", "mae"]}}},
            "loss",
        ),
    ],
)
def test_wrong_search_is_refused(repository, change, message):
    with pytest.raises(ConfigError, match=message):
        validate(repository_config(repository, **change))


# ---- What is made of the trials ----------------------------------------------------------


def trial(number, r2, size, *, state="complete", **parameters):
    return {
        "number": number,
        "state": state,
        "parameters": parameters or {"units": 2 + 2 * (number % 5), "L": 40 + number % 20},
        "r2": r2,
        "epochs": 3,
        "deployment_bytes": size,
        "macs": 0.0,
        "acs": 10.0,
        "energy_nj": 0.009,
        "latency_ms": 4.0,
        "realtime": True,
        "message": None,
    }


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), st.booleans()), min_size=1))
def test_nothing_completed_surpasses_the_best_trial(drawn):
    trials = [
        trial(n, r2 / 10, size, state="complete" if complete else "pruned")
        for n, (r2, size, complete) in enumerate(drawn)
    ]
    complete = [(t["r2"], -t["deployment_bytes"]) for t in trials if t["state"] == "complete"]
    if complete:
        best = reporting.best(trials)
        assert (best["r2"], -best["deployment_bytes"]) == max(complete)
        assert best["state"] == "complete"


def test_importance_finds_what_matters():
    random = np.random.default_rng(0)
    trials = []
    for number in range(40):
        units, window = 2 * int(random.integers(1, 6)), int(random.integers(40, 61))
        trials.append(trial(number, 0.1 * units, 100, units=units, L=window))
    shares = importance(trials, settings())
    assert list(shares) == ["units", "L"]
    assert shares["units"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(trials[:1], settings()) == {"units": 0, "L": 0}


def test_best_trial_is_a_ready_system(repository):
    content = yaml.safe_load((repository / "config.yaml").read_text())
    config = validate(content)
    drawn = {"N_C": 16, "k": 11, "N_L": 3, "N_LIF": 24, "L_seq": 1024}
    trials = [trial(0, 0.1, 10, **drawn | {"k": 3}), trial(1, 0.2, 10, **drawn)]
    trials.append(trial(2, 0.9, 10, state="pruned", **drawn))
    trials[1]["realtime"] = False
    search = config.search["RTnet"]
    text = best_system(trials, "RTnet", search, config.systems).texts[".yaml"]
    assert text.startswith("# Trial 1 ")
    assert "R2 0.200" in text
    assert "not real-time" in text
    assert "&" not in text, "no anchors, so that any part of it can be pasted"
    written = yaml.safe_load(text)
    best = validate(overlay(content, written)).systems["RTnet-best"]
    expected = search.configured(config.systems["RTnet"], drawn)
    assert best == System.model_validate(expected.model_dump() | {"published": None})
    assert best.sizes["kernel"] == 11


def test_the_documented_search_fits_a_recording(repository):
    text = (repository / "docs" / "run-the-paper.md").read_text()
    [block] = re.findall(r"```yaml\n(search:.*?)```", text, re.DOTALL)
    content = yaml.safe_load((repository / "config.yaml").read_text())
    preset = yaml.safe_load((repository / "workflow" / "presets" / "recording.yaml").read_text())
    for each in (preset, {"folder": "recordings"}, yaml.safe_load(block)):
        content = overlay(content, each)
    search = validate(content).search["small"]
    assert search.objectives == ("r2", "bytes", "energy")


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=7))
def test_the_frontier_of_a_search_is_what_no_trial_surpasses(drawn):
    trials = [
        trial(n, r2 / 10, size) | {"latency_ms": 4.0 * latency}
        for n, (r2, size, latency) in enumerate(drawn)
    ]
    trials.append(trial(99, 1.0, 0, state="pruned") | {"latency_ms": 0.0})
    found = reporting.frontier(trials, settings(objectives=("r2", "bytes", "latency")))

    def surpassed(row):
        at_least = (o for o in drawn if o[0] >= row[0] and o[1] <= row[1] and o[2] <= row[2])
        return any(other != row for other in at_least)

    kept = [n for n, row in enumerate(drawn) if not surpassed(row)]
    assert sorted(each["number"] for each in found) == kept


def test_the_frontier_is_ready_systems_with_a_table(repository):
    content = yaml.safe_load((repository / "config.yaml").read_text())
    several = {"small": content["search"]["RTnet"] | {"objectives": ["r2", "bytes"]}}
    config = validate(content | {"search": several})
    drawn = {"N_C": 16, "k": 11, "N_L": 3, "N_LIF": 24, "L_seq": 1024}
    trials = [
        trial(0, 0.1, 10, **drawn | {"k": 3}),
        trial(1, 0.2, 20, **drawn),
        trial(2, 0.2, 30, **drawn),
        trial(3, 0.05, 5, **drawn | {"k": 3}),  # another seed of trial 0
    ]
    search = config.search["small"]
    text = frontier_systems(trials, "small", search, config.systems).texts[".yaml"]
    assert "# Trial 0 of the search: validation R2 0.100, 10 bytes deployed" in text
    found = validate(overlay(content, yaml.safe_load(text)))
    assert found.tables["frontier"] == ("RTnet", "small-trial0", "small-trial1")
    assert found.systems["small-trial0"].sizes["kernel"] == 3
    assert found.systems["small-trial1"].sizes["kernel"] == 11


def test_figure_of_several_objectives(tmp_path):
    space = SPACE | {"loss": {"paths": ["training.finetune.loss"], "choices": ["mse", "rmse"]}}
    space["rate"] = {"paths": ["training.finetune.learning_rate"], "low": 0.1, "high": 1.0}
    space["rate"]["log"] = True
    drawn = {"units": 2, "L": 40, "rate": 0.2}
    losses = ("mse", "rmse") * 3
    trials = [trial(n, 0.1 * n, 100 + n, loss=each, **drawn) for n, each in enumerate(losses)]
    trials[0]["energy_nj"] = 0.5
    search = settings(space=space, objectives=("r2", "bytes", "energy"))
    figure = plots.search(trials, search, "synthetic")
    chosen = figure.data.loc[figure.data["chosen"], "trial"].unique().tolist()
    assert chosen == [0, 1, 2, 3, 4, 5], "each is smaller than the next"
    front = figure.data.loc[figure.data["front_energy"], "trial"].unique().tolist()
    assert front == [5]
    axes = figure.figure.axes
    assert [each.get_xlabel() for each in axes[4:]] == [
        "Deployed (kB)", "Energy per step (nJ)", "Importance for $R^2$",
    ]  # fmt: skip
    assert axes[3].get_xscale() == "log"
    assert [label.get_text() for label in axes[2].get_xticklabels()] == ["mse", "rmse"]


def test_figure_holds_every_trial(tmp_path):
    trials = [trial(n, 0.1 * n, 1000 - n) | {"realtime": n < 4} for n in range(6)]
    trials += [trial(6, 0.05, 10, state="pruned"), trial(7, None, 10, state="failed")]
    search = settings()
    figure = plots.search(trials, search, "synthetic")
    write(figure.files(), tmp_path / "search")
    assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".png", ".csv"}
    assert len(figure.data) == 8 * 2
    assert figure.data.loc[figure.data["chosen"], "trial"].unique().tolist() == [5]
    assert figure.data.loc[figure.data["front_bytes"], "trial"].unique().tolist() == [5]
    labels = [axes.get_xlabel() for axes in figure.figure.axes]
    assert labels == ["units", "$L$", "Deployed (kB)", "Importance for $R^2$"]
    for axes in figure.figure.axes[:3]:
        shown = [len(dots.get_offsets()) for dots in axes.collections]
        assert shown == [4, 2, 1, 1], "real-time, not real-time, pruned, the ring of the best"
