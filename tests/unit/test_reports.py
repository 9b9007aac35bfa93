"""The registry of tables, figures and documents, in the plan of a configuration."""

import json
from inspect import signature
from pkgutil import resolve_name

import pytest
import yaml

from spikereach.config import ConfigError, overlay, validate
from spikereach.export.firmware.machines import missing
from spikereach.reporting.make import make as write_table
from spikereach.reporting.registry import REGISTRY
from spikereach.workflow import reports as module
from spikereach.workflow.here import settle
from spikereach.workflow.plan import Plan
from spikereach.workflow.reports import Reports

ENTRIES = [(kind, name) for kind, entries in REGISTRY.items() for name in entries]


@pytest.fixture
def make(repository):
    """The reports of the configuration with changes laid over it."""

    def make(**changes):
        content = overlay(yaml.safe_load((repository / "config.yaml").read_text()), changes)
        scripts = repository / "workflow" / "scripts"
        return Reports(Plan(validate(content), lambda name: scripts / f"{name}.py"))

    return make


def jobs(reports):
    """Kind and name of all that a run makes, ablations and search too."""
    names = {
        "tables": [*reports.written(), *reports.ablations()],
        "figures": [*reports.drawn(), *reports.ablations(), "search_RTnet"],
        "documents": [name.format(of="RTnet") for name in REGISTRY["documents"]],
    }
    return [(kind, name) for kind, each in names.items() for name in each]


def test_every_function_gets_the_arguments_that_it_names(make):
    made = {"metrics": "frame", "realtime": "frame"}
    ours = {"fusion": [{"label": "gate", "system": "RTnet-gate"}]}
    ours["latency"] = [{"label": "0", "system": "RTnet-causal-0"}]
    synthetic = make(
        source="synthetic",
        sessions=["synthetic_loco_1"],
        tables={"blocked": ["Wiener"], "frontier": ["Wiener"]},
        ablations=ours,
    )
    planned = [
        *((make(), job) for job in jobs(make())),
        *((synthetic, job) for job in jobs(synthetic)),
    ]
    for reports, (kind, name) in planned:
        job = reports.job(kind, name)
        given = {
            *json.loads(job["settings"]),
            *(made.get(n, n) for n in reports.inputs(kind, name)),
        }
        assert signature(resolve_name(job["function"])).parameters.keys() <= given, name
    listed = {
        (kind, "trajectory_{of}" if "trajectory" in name else name.replace("RTnet", "{of}"))
        for _, (kind, name) in planned
    }
    assert listed == set(ENTRIES), "nothing is listed and never made"


def test_documents_hold_the_tables_of_the_run(make):
    reports = make()
    ablations = ["cortex_ablation", "compression_ablation"]
    assert json.loads(reports.job("documents", "paper_tables/all")["settings"]) == {
        "where_made": ablations
    }
    printed = reports.inputs("documents", "paper_tables/all")["tables"]
    values = reports.inputs("documents", "results/metrics")["tables"]
    assert "paper_tables/hyperparameters.tex" in printed
    assert "paper_tables/hyperparameters.csv" not in values
    assert {f"paper_tables/{name}.csv" for name in ablations} <= set(values)


def test_captions_say_what_the_data_are(make):
    zenodo, synthetic = make(), make(source="synthetic", sessions=["synthetic_indy_1"])
    for reports, kind in ((zenodo, "zenodo"), (synthetic, "synthetic")):
        text = reports.job("figures", "r2_by_session")["caption"]
        assert ("open diamonds" in text) == (kind == "zenodo")
        assert ("synthetic" in text) == (kind == "synthetic")
        assert not set("[]{}") & set(text)
    assert "on synthetic_indy_1" in synthetic.job("tables", "coopt")["caption"]
    assert "63 trials of RTnet" in zenodo.job("figures", "search_RTnet")["caption"]


def test_every_table_bears_the_remark_of_the_run(make):
    remark = "Budgets {cut} by 90 %."
    reports, without = make(remark=remark), make()
    for kind, name in jobs(reports):
        job, bare = reports.job(kind, name), without.job(kind, name)
        settings = json.loads(job["settings"])
        assert settings.get("remark") == (remark if kind == "tables" else None), name
        assert "remark" not in json.loads(bare["settings"])
        assert job["caption"] == f"{bare['caption']} {remark}"
    job = reports.job("tables", "hyperparameters")
    made = write_table(job["function"], {}, job["settings"])
    assert remark.encode() in made[".md"]
    assert rb"Budgets \{cut\} by 90 \%." in made[".tex"]
    bare = without.job("tables", "hyperparameters")
    assert remark.encode() not in write_table(bare["function"], {}, bare["settings"])[".md"]


def test_labels_of_the_report(make):
    reports = make()
    assert reports.labels("tables", "coopt") == {"table": "coopt"}
    assert reports.labels("figures", "pareto") == {"figure": "pareto"}
    assert reports.labels("figures", "trajectory_loco_1") == {
        "figure": "trajectory", "session": "loco_1",
    }  # fmt: skip


def test_code_is_that_of_one_entry(make):
    reports = make()
    codes = {reports.job(kind, name)["code"] for kind, name in jobs(reports)}
    modules = {
        reports.job(kind, name)["function"].partition(":")[0] for kind, name in jobs(reports)
    }
    assert len(codes) == len(modules)
    others = make(source="synthetic")
    assert codes.isdisjoint(others.job(kind, name)["code"] for kind, name in jobs(others))


def test_order_of_keys_in_the_configuration_changes_no_job(make):
    sizes = make().plan.system("RTnet").sizes
    turned = make(systems={"RTnet": {"sizes": dict(reversed(sizes.items()))}})
    assert turned.job("tables", "coopt") == make().job("tables", "coopt")


def test_a_further_table_has_all_systems(make, monkeypatch):
    entry = REGISTRY["tables"]["coopt"]
    monkeypatch.setitem(module.REGISTRY["tables"], "mine", entry)
    reports = make()
    assert "mine" in reports.written()
    expected = reports.plan.evaluations(reports.plan.tabled_systems())
    assert reports.inputs("tables", "mine")["metrics"] == expected


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("tables", "coop", "no table 'coop'.*coopt"),
        ("figures", "par", "no figure 'par'.*pareto"),
        ("tables", "r2", "tables.r2 lists no systems"),
        ("tables", "cortex_ablation", "ablations.cortex lists no variants"),
        ("figures", "search_RTnet", "search: null"),
        ("tables", "deployment", "firmware: null"),
        ("figures", "deployment", "firmware: null"),
    ],
)
def test_what_the_configuration_does_not_have_is_named(make, kind, name, message):
    reports = make(tables={"r2": []}, ablations={"cortex": []}, search=None, firmware=None)
    with pytest.raises(ConfigError, match=message):
        reports.inputs(kind, name)


@pytest.mark.parametrize(
    "inputs", ["results", "firmware", "systems", "trials", "nothing", "predictions"]
)
def test_an_entry_is_all_that_a_further_one_takes(make, monkeypatch, inputs):
    entry = REGISTRY["figures"]["latency"].model_copy(update={"inputs": inputs})
    each = {"predictions": "mine_{of}", "trials": "mine_{of}"}.get(inputs, "mine")
    monkeypatch.setitem(REGISTRY["figures"], each, entry)
    reports = make(search=None) if inputs == "trials" else make()
    drawn = [name for name in reports.drawn() if name.startswith("mine")]
    assert bool(drawn) == (inputs != "trials"), "the search is a target of its own"
    for name in drawn:
        assert reports.job("figures", name)["function"] == entry.target
        assert reports.labels("figures", name)["figure"] == "mine"
    if each == "mine":  # of no session, as tables are
        monkeypatch.setitem(REGISTRY["tables"], "mine", entry)
        for name in reports.written():
            reports.job("tables", name)


def test_decoders_of_the_deployment_are_those_of_the_first_seed(make):
    reports = make(tables={"deployment": ["sRTnet"]}, sessions=["loco_20170215_02"], seeds=[3, 1])
    for kind in ("tables", "figures"):
        files = reports.inputs(kind, "deployment")
        place = "sRTnet/loco_20170215_02/seed3"
        assert files["firmware"] == [f"results/firmware/{place}/firmware.json"]
        assert files["metrics"] == [f"results/evaluate/{place}/metrics.json"]


@pytest.mark.parametrize("change", [{"firmware": None}, {"tables": {"deployment": []}}])
def test_without_firmware_neither_its_table_nor_its_figure_is_a_target(make, change):
    for reports, there in ((make(), True), (make(**change), False)):
        assert ("deployment" in reports.written()) == there
        assert ("deployment" in reports.drawn()) == there
        printed = reports.inputs("documents", "paper_tables/all")["tables"]
        assert ("paper_tables/deployment.tex" in printed) == there


def test_the_frontier_is_that_of_its_table(make):
    reports, without = make(tables={"frontier": ["RTnet"]}), make(tables={"frontier": []})
    files = reports.plan.evaluations(["RTnet"])
    for kind in ("tables", "figures"):
        assert reports.inputs(kind, "frontier")["metrics"] == files
        with pytest.raises(ConfigError, match=r"tables.frontier lists no systems"):
            without.inputs(kind, "frontier")
    assert ("frontier" in reports.drawn(), "frontier" in without.drawn()) == (True, False)
    apart = make(tables={"frontier": ["RTnet-spikes"]})
    assert "RTnet-spikes" not in apart.plan.tabled_systems(), "other figures stay as they are"
    assert set(apart.plan.evaluated(["RTnet-spikes"])) <= set(apart.plan.decoders())


def test_absent_compilers_are_why_there_is_no_firmware(make, monkeypatch, tmp_path):
    config = make().plan.config.model_dump(mode="json")
    settle(config, tmp_path)
    assert (config["firmware"] is None) == (missing() is not None)
    monkeypatch.setenv("PATH", str(tmp_path))
    settle(config, tmp_path)
    assert config["firmware"] is None
    with pytest.raises(ConfigError, match=r"firmware: null .*: arm-none-eabi-gcc.* not found here"):
        make(firmware=None).inputs("tables", "deployment")


def test_the_figure_of_a_session_has_its_name_behind(make):
    reports = make()
    assert reports.labels("figures", "trajectory_indy_20160622_01") == {
        "figure": "trajectory", "session": "indy_20160622_01",
    }  # fmt: skip
    for kind, name in (("figures", "trajectory"), ("tables", "trajectory_x")):
        with pytest.raises(ConfigError, match=f"there is no {kind[:-1]} '{name}'"):
            reports.job(kind, name)
