"""The plan: which files a run makes, from what, and what it refuses. No Snakemake."""

import re

import pytest
import yaml

from spikereach import config
from spikereach.config import ConfigError
from spikereach.data.errors import SessionError
from spikereach.workflow.plan import Plan

EVALUATION_SESSIONS = [
    "indy_20160622_01", "indy_20160630_01", "indy_20170131_02",
    "loco_20170210_03", "loco_20170215_02", "loco_20170301_05",
]  # fmt: skip


@pytest.fixture(scope="module")
def make(repository):
    """The plan of the root configuration with files and keys laid over it."""

    def make(*files, **keys):
        raw = yaml.safe_load((repository / "config.yaml").read_text())
        for file in files:
            raw = config.overlay(raw, yaml.safe_load((repository / file).read_text()))
        scripts = repository / "workflow" / "scripts"
        return Plan(config.validate(config.overlay(raw, keys)), lambda name: scripts / f"{name}.py")

    return make


@pytest.fixture(scope="module")
def paper(make):
    return make()


@pytest.fixture(scope="module")
def demo(make):
    return make("workflow/presets/demo.yaml")


@pytest.fixture(scope="module")
def tiny(make):
    return make("tests/workflow/tiny.yaml")


def part(paths, place):
    """The folders at one place of some paths, each once."""
    return {path.split("/")[place] for path in paths}


# ---- Names that a target may have ---------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "parts"),
    [
        (lambda plan: plan.system("Wienr"), ["no system 'Wienr'", "Wiener"]),
        (lambda plan: plan.session("synthetic_indy_0"), ["synthetic_indy_0", "synthetic_indy_1"]),
        (lambda plan: plan.table("coop"), ["no table 'coop'", "coopt"]),
        (lambda plan: plan.table("r2"), ["tables.r2 lists no systems"]),
        (lambda plan: plan.training("sRTnet"), ["systems.sRTnet has no `training` itself"]),
        (lambda plan: plan.ablation_systems("cortex"), ["ablations.cortex lists no variants"]),
        (lambda plan: plan.search, ["search: null in this configuration"]),
    ],
)
def test_what_is_not_in_the_configuration_is_named(tiny, ask, parts):
    with pytest.raises(ConfigError) as error:
        ask(tiny)
    for each in parts:
        assert each in str(error.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("nowhere.decoder:Decoder", r"no module 'nowhere\.decoder'; is the absolute path of its"),
        ("os:system", "no module 'os'"),
        ("unfinished:Decoder", r"'\(' was never closed \(unfinished\.py, line 1\)"),
    ],
)
def test_an_architecture_without_code_is_named(make, tmp_path, monkeypatch, architecture, message):
    """Its code counts for the job, and is read for that, not imported."""
    (tmp_path / "unfinished.py").write_text("class Decoder(\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = make(systems={"Wiener": {"architecture": architecture}})
    with pytest.raises(ConfigError, match=rf"systems\.Wiener\.architecture: {message}"):
        plan.code("train_decoder", "Wiener")


@pytest.mark.parametrize("folder", ["recordings", "."])
def test_a_session_of_ones_own_is_looked_for_in_its_folder(make, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    own = {"own": {"monkey": "own", "areas": {"M1": 3}}}
    plan = make(source="local", folder=folder, catalogue=own, sessions=["own"])
    with pytest.raises(SessionError, match=r"own\.mat: no such file; .* change `folder`"):
        plan.fetch_inputs("own")
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "own.mat").touch()
    assert plan.fetch_inputs("own") == {
        "local": "own.mat" if folder == "." else f"{folder}/own.mat"
    }


# ---- Training and compression ---------------------------------------------------------------


def test_a_system_is_trained_on_a_session_after_its_monkey(tiny):
    final = tiny.training_inputs("tinyRSNN", "synthetic_indy_1", 0)
    assert final == {
        "binned": ["data/binned/synthetic_indy_1.h5"],
        "pretrained": tiny.trained("tinyRSNN", "synthetic_indy", 0),
    }
    assert tiny.training_inputs("tinyRSNN", "synthetic_indy", 0) == {
        "binned": ["data/binned/synthetic_indy_1.h5", "data/binned/synthetic_indy_2.h5"]
    }
    assert tiny.training_inputs("RTnet", "synthetic_indy_1", 0).keys() == {"binned"}


def test_pretraining_does_not_depend_on_what_follows(make, tiny):
    training = {"tinyRSNN": {"training": {"finetune": {"learning_rate": 0.5}}}}
    changed = make("tests/workflow/tiny.yaml", systems=training)
    for dataset, same in {"synthetic_indy": True, "synthetic_indy_1": False}.items():
        found = [plan.training_spec("tinyRSNN", dataset) for plan in (tiny, changed)]
        assert (found[0] == found[1]) is same
    assert changed.training_spec("RTnet", "synthetic_indy_1") == tiny.training_spec(
        "RTnet", "synthetic_indy_1"
    )


def test_a_compressed_system_starts_from_its_base(tiny):
    assert tiny.final_checkpoint("sRTnet", "synthetic_indy_1", 0).startswith("results/compress/")
    base = tiny.base_checkpoint("sRTnet", "synthetic_indy_1", 0)
    assert base == tiny.final_checkpoint("RTnet", "synthetic_indy_1", 0)
    assert base == "results/train/RTnet/synthetic_indy_1/seed0/checkpoint.safetensors"


def test_synthetic_sessions_depend_on_how_they_are_made(make, tiny):
    longer = make("tests/workflow/tiny.yaml", synthetic={"duration_s": 50.0})
    assert longer.origin("synthetic_indy_1") != tiny.origin("synthetic_indy_1")
    threads = make("tests/workflow/tiny.yaml", threads=3)
    assert threads.origin("synthetic_indy_1") == tiny.origin("synthetic_indy_1")


# ---- Published weights ----------------------------------------------------------------------


def imported(make, *systems, **keys):
    return make(tables={"imported": [f"{name}-imported" for name in systems]}, **keys)


def test_published_weights_are_not_trained(make):
    plan = imported(make, "SNN2", "tinyRSNN", source="synthetic", sessions=["synthetic_indy_2"])
    assert set(plan.weights_files()) == {
        "data/weights/SNN2/indy_20160630_01.pt",
        *(f"data/weights/tinyRSNN/indy_20160630_01-seed{seed}.pth" for seed in range(1, 6)),
    }
    evaluated = plan.evaluated(plan.table("imported"))
    assert len(evaluated) == 6
    checkpoints = [plan.final_checkpoint(*each) for each in evaluated]
    assert part(checkpoints, 1) == {"import"}
    assert {plan.weights_file(*each) for each in evaluated} == set(plan.weights_files())


def test_all_published_files_are_used_on_the_six_sessions(make):
    plan = imported(make, "ANN2", "ANN3", "SNN2", "SNN3", "tinyRSNN", sessions=EVALUATION_SESSIONS)
    assert len(plan.weights_files()) == len(set(plan.weights_files())) == 54


def test_sessions_without_published_weights_are_left_out(make):
    plan = imported(make, "SNN2", sessions=["indy_20160622_01", "indy_20160624_03"])
    assert plan.weights_files() == ["data/weights/SNN2/indy_20160622_01.pt"]
    assert "imported" in plan.written_tables()
    none = imported(make, "SNN2", sessions=["indy_20160624_03"])
    assert none.weights_files() == []
    assert "imported" not in none.written_tables()


def test_weights_that_are_not_published_are_an_error(make):
    plan = imported(make, "tinyRSNN", source="synthetic", sessions=["synthetic_indy_2"])
    with pytest.raises(ConfigError, match=r"for synthetic_indy_2 seed 0; .* seed 5"):
        plan.weights_file("tinyRSNN-imported", "synthetic_indy_2", 0)
    with pytest.raises(ConfigError, match=r"systems\.tinyRSNN has no published `weights`"):
        plan.weights_file("tinyRSNN", "synthetic_indy_2", 1)


# ---- Tables, ablations, search --------------------------------------------------------------


def test_only_tables_with_systems_are_written(tiny):
    assert tiny.written_tables() == [
        "coopt", "realtime", "per_session", "comparisons", "hyperparameters"
    ]  # fmt: skip
    assert tiny.tabled_systems() == ["Wiener", "tinyRSNN", "sRTnet"]


def test_the_cortex_ablation_needs_its_systems_and_loco_alone(paper):
    results = paper.ablation_results("cortex")
    assert part(results, 2) == {"BMnet", "BMnet-M1", "BMnet-S1", "BMnet-pre", "BMnet-post"}
    assert part(results, 3) == {"loco_20170210_03", "loco_20170215_02", "loco_20170301_05"}


def test_the_compression_ablation_trains_one_system(paper):
    results = paper.ablation_results("compression")
    systems = part(results, 2)
    assert len(systems) == 8
    bases = {paper.base_checkpoint(system, "indy_20160622_01", 0) for system in systems}
    assert part(bases, 2) == {"RTnet"}


def test_the_demo_has_ablations_and_a_search_but_does_not_make_them(demo, repository):
    targets = re.search(r"^TARGETS := (.*)$", (repository / "Makefile").read_text(), re.M)[1]
    assert targets.split() == ["tables", "figures", "results/config.yaml"]
    assert demo.made_ablations() == ["cortex", "compression"]
    results = [path for name in demo.made_ablations() for path in demo.ablation_results(name)]
    assert part(results, 3) == {"synthetic_indy_1", "synthetic_loco_1"}
    assert len(demo.all_trials()) == 16


def test_an_ablation_without_a_session_for_it_is_refused(make):
    plan = make(sessions=["indy_20160622_01"])
    assert plan.made_ablations() == ["compression"]
    with pytest.raises(ConfigError, match=r"ablations\.cortex: no session has all the cortex"):
        plan.ablation_results("cortex")


def test_trials_of_the_paper_wait_for_those_that_they_must_know(paper):
    assert len(paper.all_trials()) == 63
    parallel = paper.search.parallel
    for number in range(63):
        inputs = paper.trial_inputs(number)
        assert inputs["binned"] == "data/binned/loco_20170215_02.h5"
        known = {int(re.search(r"trial(\d+)", path)[1]) for path in inputs["earlier"]}
        # With what the earlier ones waited for: all up to number - parallel.
        everything = set(known)
        for earlier in known:
            everything |= set(range(earlier - parallel + 1))
        assert everything == set(range(number - parallel + 1))
    with pytest.raises(ConfigError, match="there is no trial 63"):
        paper.trial_inputs(63)


def test_trials_do_not_depend_on_how_many_follow(make, paper):
    more = make(search={"trials": 70})
    assert more.trial_spec() == paper.trial_spec()
    assert make(search={"seed": 9}).trial_spec() != paper.trial_spec()
