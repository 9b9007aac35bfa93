"""The plan of a run, asked without Snakemake: files, inputs, params, resources and refusals."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from spikereach.config import ConfigError, overlay, validate
from spikereach.data.errors import SessionError
from spikereach.workflow import demand
from spikereach.workflow.plan import Plan
from spikereach.workflow.reports import Reports

SIX = [
    "indy_20160622_01",
    "indy_20160630_01",
    "indy_20170131_02",
    "loco_20170210_03",
    "loco_20170215_02",
    "loco_20170301_05",
]


@pytest.fixture(scope="module")
def raw(repository):
    return yaml.safe_load((repository / "config.yaml").read_text())


@pytest.fixture(scope="module")
def make(repository, raw):
    """The paper's plan with changes laid over its configuration; trainings on the CPU."""

    def make(**change):
        config = validate(overlay(raw, {"device": "cpu"} | change))
        return Plan(config, lambda name: repository / "workflow" / "scripts" / f"{name}.py")

    return make


@pytest.fixture(scope="module")
def paper(make):
    return make()


@pytest.fixture(scope="module")
def demo(repository, make):
    preset = repository / "workflow" / "presets" / "demo.yaml"
    return make(**yaml.safe_load(preset.read_text()))


def seeds(pattern, number=5):
    return [pattern.format(seed) for seed in range(number)]


# ---- Names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("system", ["Wienr"], "the configuration has no system 'Wienr'; did you mean Wiener?"),
        ("table", ["coop"], "the configuration has no table 'coop'; did you mean coopt?"),
        ("session", ["synthetic_indy_0"], "session 'synthetic_indy_0' is unknown"),
        ("final_checkpoint", ["Wienr", SIX[0], 0], "the configuration has no system 'Wienr'"),
        ("training_inputs", ["Wiener", "indy_2016", 0], "session 'indy_2016' is unknown"),
        ("training_inputs", ["sRTnet", "loco", 0], "systems.sRTnet has no `training` itself"),
        ("memory", ["SNN2-imported", 1, SIX[0]], "SNN2-imported has no `training` itself"),
        ("weights_file", ["tinyRSNN", SIX[0], 1], "systems.tinyRSNN has no published `weights`"),
        (
            "weights_file",
            ["SNN2-imported", SIX[0], 1],
            "SNN2-imported: no published weights for indy_20160622_01 seed 1; on the configured "
            "sessions there are: indy_20160622_01 seed 0, indy_20160630_01 seed 0, ",
        ),
        ("fold_spec", [SIX[0], "6"], "blocked.folds is 5: there is no fold 6"),
        ("fold_spec", [f"{SIX[0]}.fold1", "2"], f"session '{SIX[0]}.fold1' is unknown"),
        ("training_inputs", ["Wiener", "indy_2016.fold1", 0], "session 'indy_2016' is unknown"),
        ("trial_inputs", ["RTnet", 63], "search.RTnet.trials: there is no trial 63"),
        ("all_trials", ["RTne"], "the configuration has no search 'RTne'; did you mean RTnet?"),
    ],
)
def test_what_a_run_does_not_have_is_refused(paper, method, arguments, message):
    with pytest.raises(ConfigError) as caught:
        getattr(paper, method)(*arguments)
    assert message in str(caught.value)


def test_what_is_left_out_says_so(make):
    plan = make(
        tables={"r2": []},
        ablations={"cortex": [], "compression": [], "latency": []},
        search=None,
        sessions=SIX[:2],
    )
    for ask, message in (
        (lambda: plan.table("r2"), "tables.r2 lists no systems: name those that it shall have"),
        (lambda: plan.ablation_results("cortex"), "ablations.cortex lists no variants"),
        (lambda: plan.trial_inputs("RTnet", 0), "search: null in this configuration"),
        (lambda: plan.all_trials("RTnet"), "search: null in this configuration"),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value) == message
    assert "r2" not in Reports(plan).written()
    assert plan.made_ablations() == []


def test_a_plan_needs_neither_snakemake_nor_torch():
    code = (
        "import sys, spikereach.workflow.reports; "
        "sys.exit(bool({'torch', 'snakemake', 'numba'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- Cross-validation -------------------------------------------------------------------


def test_a_fold_is_pretrained_on_folds(paper):
    """What one fold tests on is in none of its pretraining, which has that session, too."""
    inputs = paper.training_inputs("tinyRSNN", f"{SIX[0]}.fold2", 3)
    assert inputs == {
        "binned": [f"data/binned/{SIX[0]}.fold2.h5"],
        "pretrained": "results/train/tinyRSNN/indy.fold2/seed3/checkpoint.safetensors",
    }
    assert (paper.stage("indy.fold2"), paper.stage(f"{SIX[0]}.fold2")) == ("pretrain", "finetune")
    read = paper.training_inputs("tinyRSNN", "indy.fold2", 3)
    monkeys = paper.config.pretrain_sessions["indy"]
    assert read == {"binned": [f"data/binned/{name}.fold2.h5" for name in monkeys]}
    for ask in (paper.minutes, paper.training_spec):
        assert ask("tinyRSNN", "indy.fold2") == ask("tinyRSNN", "indy")
    compressed = paper.final_checkpoint("sRTnet", f"{SIX[3]}.fold5", 1)
    assert compressed == f"results/compress/sRTnet/{SIX[3]}.fold5/seed1/checkpoint.safetensors"


def test_folds_of_the_table_are_made_where_it_lists_systems(paper, make):
    with pytest.raises(ConfigError, match=r"tables.blocked lists no systems"):
        paper.blocked()
    assert not any(".fold" in session for _, session, _ in paper.decoders())
    table = ["Wiener", "SNN2"]
    plan = make(tables={"blocked": table}, blocked={"folds": 3}, seeds=[4])
    expected = [
        (system, session + end, 4)
        for system in table
        for session in SIX
        for end in ("", ".fold1", ".fold2", ".fold3")
    ]
    assert plan.blocked() == expected
    assert set(expected) < set(plan.decoders())
    assert plan.tabled_systems() == paper.tabled_systems(), "no figure has more systems"
    assert json.loads(plan.fold_spec(SIX[0], "2")) == {"number": 2, "folds": 3, "gap_s": 5.0}
    assert set(plan.all_sessions) == set(paper.all_sessions)


# ---- Sessions ---------------------------------------------------------------------------


def test_sessions_come_in_the_order_of_the_configuration(paper):
    assert paper.all_sessions[:6] == SIX
    assert len(paper.all_sessions) == len(set(paper.all_sessions)) == 40
    assert [paper.fetch_priority(name) for name in (*SIX[:2], "indy_20160407_02")] == [0, -1, 0]


def test_sessions_of_other_monkeys_are_not_fetched(make):
    assert {name[:4] for name in make(sessions=SIX[3:]).all_sessions} == {"loco"}
    assert make(sessions=SIX[:2], pretrain_sessions={"indy": []}).all_sessions == SIX[:2]


def test_origin_is_where_a_session_comes_from_and_not_how(paper, make):
    origin = paper.origin(SIX[0])
    assert make(download={"retries": 9}, synthetic={"seed": 3}).origin(SIX[0]) == origin
    synthetic = make(source="synthetic")
    assert synthetic.origin(SIX[0]) != origin
    assert make(source="synthetic", synthetic={"seed": 3}).origin(SIX[0]) != synthetic.origin(
        SIX[0]
    )
    assert (paper.source.downloads, synthetic.source.downloads) == (True, False)
    assert synthetic.source.memory_mb() - paper.source.memory_mb() == pytest.approx(1.2 * 600)


def test_own_file_is_an_input_and_its_stamp_counts(make, tmp_path):
    plan = make(source="local", folder=str(tmp_path))
    path = tmp_path / f"{SIX[0]}.mat"
    for ask in (plan.fetch_inputs, plan.origin):
        with pytest.raises(SessionError, match=f"{path}: no such file"):
            ask(SIX[0])
    path.write_bytes(b"one")
    assert plan.fetch_inputs(SIX[0]) == {"local": str(path)}
    before = plan.origin(SIX[0])
    os.utime(path, (1, 1))
    assert plan.origin(SIX[0]) != before
    assert plan.config.folder == str(tmp_path)


def test_session_spec_is_what_binning_reads(make):
    entry = {"monkey": "own", "areas": {"S1": 3, "M1": 174}}
    plan = make(catalogue={"own": entry})
    spec = json.loads(plan.session_spec("own"))
    unknown = ("md5", "size", "samples", "segments", "test_steps")
    assert spec == entry | {"name": "own"} | dict.fromkeys(unknown)


# ---- Training and compression -----------------------------------------------------------


def test_pretraining_reads_all_sessions_and_finetuning_one(paper):
    names = paper.config.pretrain_sessions["loco"]
    assert paper.training_inputs("RTnet", "loco", 2) == {
        "binned": [f"data/binned/{name}.h5" for name in names]
    }
    assert paper.training_inputs("RTnet", SIX[3], 2) == {
        "binned": [f"data/binned/{SIX[3]}.h5"],
        "pretrained": "results/train/RTnet/loco/seed2/checkpoint.safetensors",
    }
    assert (paper.stage("loco"), paper.stage(SIX[3])) == ("pretrain", "finetune")


def test_without_pretraining_there_is_no_pretrained_checkpoint(paper, make):
    assert paper.training_inputs("SNN2", SIX[3], 0).keys() == {"binned"}
    own = make(catalogue={"own": {"monkey": "own", "areas": {"M1": 96}}}, sessions=["own"])
    assert own.training_inputs("RTnet", "own", 0).keys() == {"binned"}


def test_training_depends_on_its_own_stage(paper, make):
    def specs(plan, system="RTnet"):
        return plan.training_spec(system, "loco"), plan.training_spec(system, SIX[3])

    def changed(**change):
        return make(systems={"RTnet": change})

    pretrain, finetune = specs(paper)
    brief = specs(changed(training={"finetune": {"epochs": 1}}))
    assert brief[0] == pretrain, "of a monkey, pretraining alone counts"
    assert brief[1] != finetune
    assert specs(changed(training={"pretrain": {"epochs": 1}}))[1] != finetune
    for unrelated in (changed(published=None), changed(compression=[])):
        assert specs(unrelated) == (pretrain, finetune)
    assert specs(changed(published=None), "BMnet") == specs(paper, "BMnet")


def test_compression_depends_on_its_steps(paper, make):
    spec = paper.compression_spec("tinyRSNN")
    assert make(systems={"tinyRSNN": {"published": None}}).compression_spec("tinyRSNN") == spec
    steps = {"tinyRSNN": {"compression": [{"kind": "half"}]}}
    assert make(systems=steps).compression_spec("tinyRSNN") != spec


def test_specs_do_not_depend_on_the_order_of_keys(raw, repository, paper):
    reordered = json.loads(json.dumps(raw, sort_keys=True))
    other = Plan(validate(reordered), paper.script)
    for plan in (paper, other):
        assert plan.training_spec("RTnet", "loco") == paper.training_spec("RTnet", "loco")
    assert other.tabled_systems() == paper.tabled_systems()
    assert Reports(other).written() == Reports(paper).written()
    assert other.trial_spec("RTnet") == paper.trial_spec("RTnet")


def test_final_checkpoint_is_what_stands_in_the_tables(paper):
    rest = f"{SIX[0]}/seed1/checkpoint.safetensors"
    assert paper.final_checkpoint("SNN2", SIX[0], 1) == f"results/train/SNN2/{rest}"
    assert paper.final_checkpoint("RTnet", SIX[0], 1) == f"results/compress/RTnet/{rest}"
    assert paper.final_checkpoint("RTnet-float32", SIX[0], 1) == f"results/train/RTnet/{rest}"
    imported = f"results/import/SNN2-imported/{rest}"
    assert paper.final_checkpoint("SNN2-imported", SIX[0], 1) == imported
    assert paper.base_checkpoint("sRTnet", SIX[0], 1) == f"results/train/RTnet/{rest}"
    assert paper.architecture("sRTnet") == "hybrid"


def test_all_final_checkpoints(paper, demo, make):
    found = paper.final_checkpoints()
    assert len(found) == len(set(found))
    assert sum(path.startswith("results/import/") for path in found) == 54
    by_system = {path.split("/")[2] for path in found}
    assert {"BMnet-post", "sRTnet-sparse", "Kalman"} <= by_system
    deployed = set(make(tables={"frontier": []}).final_checkpoints())
    deployed -= set(make(tables={"frontier": []}, firmware=None).final_checkpoints())
    assert {"SNN2-fixed", "tinyRSNN-fixed"} == {path.split("/")[2] for path in deployed}
    assert {path.split("/")[4] for path in deployed} == {"seed0"}
    assert {path.split("/")[3] for path in deployed} == set(SIX)
    assert {path.split("/")[3] for path in demo.final_checkpoints()} == {
        "synthetic_indy_1",
        "synthetic_loco_1",
    }


def test_code_is_that_of_the_script_and_the_architecture(paper, make):
    assert paper.code("train_decoder", "RTnet") == paper.code("train_decoder", "BMnet")
    assert paper.code("train_decoder", "RTnet") == paper.code("train_decoder", "sRTnet")
    different = [("train_decoder", "SNN2"), ("train_decoder",), ("compress_decoder", "SNN2")]
    digests = {paper.code(*each) for each in [("train_decoder", "RTnet"), *different]}
    assert len(digests) == 4


def test_code_of_a_compression_is_that_of_its_steps(paper):
    """The one rounds to half precision, the other to fixed point, in the same architecture."""
    assert paper.code("compress_decoder", "RTnet") == paper.code("compress_decoder", "BMnet")
    assert paper.code("compress_decoder", "RTnet") != paper.code("compress_decoder", "sRTnet")
    assert paper.code("run_trial", "RTnet") != paper.code("run_trial", "sRTnet"), "compressed, too"


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("nowhere.decoder:Decoder", "no module 'nowhere.decoder'; is the absolute path of its"),
        ("os:system", "no module 'os'"),
        ("unfinished:Decoder", "'(' was never closed (unfinished.py, line 1)"),
    ],
)
def test_architecture_that_cannot_be_found(make, tmp_path, monkeypatch, architecture, message):
    (tmp_path / "unfinished.py").write_text("class Decoder(\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = make(systems={"Wiener": {"architecture": architecture}})
    with pytest.raises(ConfigError) as caught:
        plan.code("train_decoder", "Wiener")
    assert f"systems.Wiener.architecture: {message}" in str(caught.value)


# ---- Published weights ------------------------------------------------------------------


def test_all_published_files_are_used_on_the_six_sessions(paper):
    files = paper.weights_files()
    assert len(files) == len(set(files)) == 54
    seeds = {seed for _, seed in paper.published_weights("tinyRSNN-imported")}
    assert seeds == {1, 2, 3, 4, 5}
    weights = paper.weights_file("tinyRSNN-imported", SIX[1], "2")
    assert weights == "data/weights/tinyRSNN/indy_20160630_01-seed2.pth"
    assert weights in files


def test_synthetic_session_takes_the_weights_of_the_one_it_imitates(make):
    plan = make(source="synthetic", sessions=["synthetic_indy_2"])
    assert plan.weights_file("SNN2-imported", "synthetic_indy_2", 0) == (
        "data/weights/SNN2/indy_20160630_01.pt"
    )


def test_sessions_without_weights_are_left_out(make):
    other = "indy_20160624_03"
    plan = make(sessions=[SIX[0], other])
    assert not [path for path in plan.weights_files() if "20160624" in path]
    assert plan.evaluations(["SNN2-imported"]) == [
        f"results/evaluate/SNN2-imported/{SIX[0]}/seed0/metrics.json"
    ]
    assert "imported" in Reports(plan).written()
    assert "imported" not in Reports(make(sessions=[other])).written()
    with pytest.raises(ConfigError, match=r"there are: none$"):
        make(sessions=[other]).weights_file("SNN2-imported", other, 0)


# ---- Tables, figures and ablations ------------------------------------------------------


def test_evaluations_are_of_all_sessions_and_seeds(paper):
    files = paper.evaluations(["Wiener", "SNN2"], "realtime.json")
    assert len(files) == 2 * 6 * 5
    pattern = f"results/evaluate/Wiener/{SIX[0]}/seed{{}}/realtime.json"
    assert files[:5] == seeds(pattern)


def test_tabled_systems_are_the_trained_ones_of_all_tables(paper, make):
    assert paper.tabled_systems() == list(paper.config.tables["per_session"])
    tables = {name: [] for name in paper.config.tables} | {"hyperparameters": ["Kalman"]}
    assert make(tables=tables | {"coopt": ["Wiener"]}).tabled_systems() == ["Wiener"]
    assert Reports(make(tables=tables)).written() == ["hyperparameters"]
    deployed = make(tables=tables | {"deployment": ["sRTnet"]})
    assert deployed.tabled_systems() == [], "only one of the seeds has results"


def test_one_system_of_each_layout_of_convolutions(paper):
    assert paper.convolutional_systems() == ["RTnet", "BMnet"]


def test_trajectory_shows_the_first_seed(make):
    plan = make(seeds=[7, 1], trajectory={"systems": ["Wiener", "sRTnet"]})
    assert plan.trajectory_inputs(SIX[0]) == [
        f"results/evaluate/{name}/{SIX[0]}/seed7/predictions.h5" for name in ("Wiener", "sRTnet")
    ]


def test_cortex_ablation_needs_its_systems_and_loco_alone(paper):
    files = [path.split("/") for path in paper.ablation_results("cortex")]
    assert {path[2] for path in files} == {
        "BMnet", "BMnet-M1", "BMnet-S1", "BMnet-pre", "BMnet-post",
    }  # fmt: skip
    assert {path[3] for path in files} == set(SIX[3:])
    assert len(files) == 5 * 3 * 5


def test_fusion_is_compared_on_loco_alone(make, repository):
    preset = yaml.safe_load((repository / "workflow" / "presets" / "fusion.yaml").read_text())
    files = [path.split("/") for path in make(**preset).ablation_results("fusion")]
    assert {path[3] for path in files} == set(SIX[3:])
    assert {path[2] for path in files} >= {"RTnet", "RTnet-M1", "RTnet-gate"}


def test_compression_ablation_trains_one_system(paper):
    systems = paper.ablation_systems("compression").values()
    assert len(systems) == 8
    assert {paper.base_checkpoint(name, SIX[0], 0).split("/")[2] for name in systems} == {"RTnet"}


def test_ablation_without_sessions_is_left_out(make):
    plan = make(sessions=SIX[:1])
    assert plan.made_ablations() == ["compression"]
    with pytest.raises(ConfigError) as caught:
        plan.ablation_results("cortex")
    assert str(caught.value) == (
        "ablations.cortex: no session has all the areas that its systems read (M1, S1); name the "
        "sessions' own in `areas` of these systems, or write ablations: {cortex: []}"
    )


def test_demo_has_ablations_and_search_but_leaves_them_out(demo, repository):
    targets = re.search(r"^TARGETS := (.*)$", (repository / "Makefile").read_text(), re.M)[1]
    assert targets.split() == ["tables", "figures", "results/config.yaml"]
    assert Reports(demo).ablations() == ["cortex_ablation", "compression_ablation"]
    assert len(demo.all_trials("RTnet")) == 16


def test_the_decoders_named_are_recalibrated_in_the_loop(demo):
    played = demo.config.closed_loop
    recipe = played.recalibration.model_copy(update={"systems": ("sRTnet",)})

    def given(name, recipe):
        update = {"closed_loop": played.model_copy(update={"recalibration": recipe})}
        plan = Plan(demo.config.model_copy(update=update), demo.script)
        return json.loads(plan.loop_spec(name))["recalibration"]

    expected = {"trials": recipe.trials, "stage": recipe.stage.model_dump(mode="json")}
    assert given("sRTnet", recipe) == expected
    assert given("RTnet", recipe) is given("arm", recipe) is given("sRTnet", None) is None


# ---- Search -----------------------------------------------------------------------------


def test_trials_know_those_before_them(make):
    plan = make(search={"RTnet": {"trials": 6, "parallel": 2}})
    trials = [f"results/search/RTnet/trial{number}.json" for number in range(6)]
    assert plan.all_trials("RTnet") == trials
    earlier = [plan.trial_inputs("RTnet", str(number))["earlier"] for number in range(6)]
    assert earlier == [[], [], [trials[0]], trials[:2], trials[1:3], trials[2:4]]
    assert plan.trial_inputs("RTnet", 0)["binned"] == "data/binned/loco_20170215_02.h5"


@pytest.mark.parametrize(("trials", "parallel"), [(63, 8), (5, 1), (4, 9)])
def test_trials_wait_for_all_up_to_the_parallel_ones(make, trials, parallel):
    plan = make(search={"RTnet": {"trials": trials, "parallel": parallel}})
    waited = {}
    for number in range(trials):
        earlier = plan.trial_inputs("RTnet", number)["earlier"]
        found = {int(path.split("trial")[1][:-5]) for path in earlier}
        waited[number] = found.union(*(waited[each] for each in found))
        assert waited[number] == set(range(number - parallel + 1))


def test_more_trials_rerun_none(make, paper):
    spec = paper.trial_spec("RTnet")
    assert make(search={"RTnet": {"trials": 70}}).trial_spec("RTnet") == spec
    assert make(search={"RTnet": {"seed": 1}}).trial_spec("RTnet") != spec
    assert make(systems={"RTnet": {"published": None}}).trial_spec("RTnet") == spec


def test_a_search_ends_with_its_best_trial_or_with_its_frontier(make):
    assert make(search=None).found() == []
    other = make().config.search["RTnet"].model_dump(mode="json") | {"objectives": ["r2", "bytes"]}
    plan = make(search={"small": other})
    assert plan.found() == ["results/search/RTnet/best.yaml", "results/search/small/frontier.yaml"]
    assert plan.trial_inputs("small", 8)["earlier"] == ["results/search/small/trial0.json"]


# ---- Resources --------------------------------------------------------------------------


def test_trainings_ask_for_what_they_need(paper, make):
    pretrain = paper.config.systems["RTnet"].training.pretrain
    assert paper.memory("RTnet", 90, "loco") == demand.memory_mb([pretrain], 90, "cpu")
    assert paper.minutes("RTnet", "loco") == demand.minutes([pretrain], 10, "cpu")
    assert paper.minutes("RTnet", SIX[3]) < paper.minutes("RTnet", "loco")
    assert paper.minutes("Wiener", SIX[3]) == demand.SETUP_MIN, "a closed form"
    assert paper.minutes("RTnet") == demand.SETUP_MIN, "retrains nothing"
    assert paper.minutes("sRTnet") > demand.SETUP_MIN
    assert paper.memory("sRTnet", 9) > paper.memory("RTnet", 9)
    finetune = paper.config.systems["RTnet"].training.finetune
    assert paper.trial_memory("RTnet", 9) == 2 * demand.memory_mb([finetune], 9, "cpu")
    assert paper.trial_minutes("RTnet") == 2 * demand.minutes([finetune], 1, "cpu")
    settings = paper.config.search["RTnet"].model_dump(mode="json")
    settings["space"] = {"units": {"paths": ["sizes.hidden"], "low": 8, "high": 16}}
    bits = make(search={"small": settings | {"system": "smallRSNN"}})
    small = bits.config.systems["smallRSNN"]
    stages = [small.training.finetune, *(step.retrain for step in small.compression)]
    assert bits.trial_minutes("small") == 2 * demand.minutes(stages, 1, "cpu"), "compressed, too"
    assert paper.binning_memory(10.9) == 543
    assert paper.evaluation_memory(9.3) == 1965


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("auto", "", "cpu"), ("auto", "0", "cuda"), ("cpu", "0", "cpu"), ("cuda", "", "cuda")],
)
def test_device(make, monkeypatch, device, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert make(device=device).device == expected


def test_only_what_trains_by_gradients_asks_for_a_gpu(make, paper):
    """A closed form and a mere rounding compute on the CPU, and would keep a GPU idle."""
    plan = make(device="cuda")
    asked = {
        ("RTnet", SIX[3]): 1,
        ("RTnet", "loco"): 1,
        ("Wiener", SIX[3]): 0,
        ("Kalman", SIX[3]): 0,
        ("sRTnet", None): 1,
        ("RTnet", None): 0,
    }
    assert {job: plan.gpus(*job) for job in asked} == asked
    assert plan.trial_gpus("RTnet") == 1
    assert not any(paper.gpus(*job) for job in asked), "device: cpu"
    assert paper.trial_gpus("RTnet") == 0


@pytest.mark.parametrize(
    ("visible", "shared", "asked", "places"),
    [
        ("0,1", 1, None, 2),
        ("0,1", 3, None, 6),
        ("0,1", 3, 4, 4),
        ("0,1", 1, 4, 2),
        ("", 1, None, 1),
    ],
)
def test_no_more_jobs_begin_than_gpus_have_places(
    make, monkeypatch, visible, shared, asked, places
):
    """Those too many would wait for a place, and keep cores from jobs that need none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert make(device="cuda", jobs_per_gpu=shared).gpu_places(asked) == places
