"""`snakemake --profile profiles/slurm` on a real SLURM, of which a node dies on the way.

One cluster serves all tests: what takes long by the clock alone, such as reaching a time limit,
runs beside the rest.
"""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

import slurm_cluster

pytestmark = pytest.mark.slow

PROFILE = ("--profile", "profiles/slurm", "--slurm-status-command", "squeue")
"""The test's cluster keeps no accounts, so that only squeue knows of jobs."""
HASTE = (
    *("--slurm-init-seconds-before-status-checks", "1"),
    *("--seconds-between-status-checks", "1"),
    *("--latency-wait", "10"),
    *("--cores", "2"),
)
TARGETS = ("tables", "figures/pareto.pdf", "results/config.yaml")


@pytest.fixture(scope="module")
def cluster():
    reason = slurm_cluster.reason_to_skip()
    if reason:
        pytest.skip(reason)
    with slurm_cluster.Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture(scope="module")
def slow_job(cluster, pool, make_checkout, tmp_path_factory):
    """A run of one job that exceeds the time of its first attempt; goes on by itself."""
    checkout = make_checkout(tmp_path_factory.mktemp("slow_job"))
    rules = checkout.folder / "workflow" / "rules" / "report.smk"
    text, heading = rules.read_text(), "as write_config with:\n"
    assert heading in text
    resources = "    resources:\n        mem_mb=grows(1000),\n        runtime=grows(1),\n"
    rules.write_text(text.replace(heading, heading + resources))
    script = checkout.folder / "workflow" / "scripts" / "report.py"
    waits = "import time\n\ntime.sleep(300 if snakemake.resources.runtime == 1 else 0)\n"
    script.write_text(waits + script.read_text())
    return pool.submit(
        checkout.snakemake,
        *("results/config.yaml", *PROFILE, *HASTE),
        *("--default-resources", "slurm_partition=gpu"),
    )


@pytest.fixture(scope="module")
def finished(cluster, pool, slow_job, make_checkout, tmp_path_factory):
    """The whole DAG, in spite of a node that dies while it trains."""
    checkout = brief(make_checkout(tmp_path_factory.mktemp("slurm")))
    run = pool.submit(checkout.snakemake, *TARGETS, *PROFILE, *HASTE)

    def trains():
        return run.done() or training_node(cluster)

    slurm_cluster.wait(trains, "a training to run", cluster.report, 300)
    checkout.killed = training_node(cluster)
    if checkout.killed:
        time.sleep(3)
        cluster.kill_node(checkout.killed)
    checkout.done = run.result()
    checkout.jobs = [job for job in cluster.jobs() if job.comment != "rule_report_write_config"]
    return checkout


def brief(checkout):
    """Every step with few jobs: each costs the start of three processes."""
    systems = ["Wiener", "tinyRSNN"]
    content = yaml.safe_load(checkout.overlay.read_text())
    content["tables"] |= {"coopt": systems, "realtime": [], "per_session": [], "comparisons": []}
    content["tables"]["hyperparameters"] = systems
    content["pretrain_sessions"] = {"synthetic_indy": ["synthetic_indy_1"]}
    checkout.overlay.write_text(yaml.safe_dump(content))
    return checkout


def training_node(cluster):
    """Where a training runs."""
    for job in cluster.jobs():
        if job.state == "RUNNING" and job.comment.startswith("rule_train_decoder"):
            return job.node
    return None


@pytest.fixture(scope="module")
def local(finished, make_checkout, tmp_path_factory):
    checkout = brief(make_checkout(tmp_path_factory.mktemp("local")))
    done = checkout.snakemake(*TARGETS, "--cores", "2")
    assert done.returncode == 0, done.stdout
    return checkout


@pytest.mark.long
def test_the_dag_finishes_although_a_node_dies(finished, cluster):
    assert finished.done.returncode == 0, finished.done.stdout
    assert finished.killed, "no training was seen to run"
    assert cluster.states().count("down*") == 1
    assert "NODE_FAIL" in finished.done.stdout
    hit = [job for job in finished.jobs if job.state == "NODE_FAIL"]
    assert hit
    for job in hit:
        again = [other for other in finished.jobs if other.comment == job.comment]
        assert [other.state for other in again] == ["NODE_FAIL", "COMPLETED"]
        assert finished.killed not in again[1].node
    assert finished.planned(*TARGETS) == {}


@pytest.mark.long
def test_small_jobs_are_submitted_together(finished):
    together = [job.comment for job in finished.jobs if job.comment.startswith("rule_report")]
    assert len(together) == 1
    assert not [job for job in finished.jobs if re.match("rule_(write|draw)", job.comment)]


@pytest.mark.long
def test_results_are_those_of_a_local_run(finished, local):
    files = [
        path.relative_to(local.run_folder)
        for folder in ("paper_tables", "figures")
        for path in sorted((local.run_folder / folder).iterdir())
        if path.suffix in (".csv", ".tex", ".md")
    ]
    assert len(files) > 7
    for path in files:
        ours, theirs = ((each.run_folder / path).read_bytes() for each in (finished, local))
        assert ours == theirs, path
    metrics = sorted(local.run_folder.glob("results/evaluate/**/metrics.json"))
    assert metrics
    for path in metrics:
        pair = [path, finished.run_folder / path.relative_to(local.run_folder)]
        ours, theirs = (json.loads(each.read_text()) for each in pair)
        assert ours | {"provenance": 0} == theirs | {"provenance": 0}, path


@pytest.mark.long
def test_a_job_is_given_a_gpu_and_its_error_is_shown(finished, cluster):
    """The node only pretends to have GPUs, so that the job ends with an error."""
    done = finished.snakemake(
        *("results/train/RTnet/synthetic_indy_1/seed0/checkpoint.safetensors", *PROFILE, *HASTE),
        *("--retries", "0", "--config", "device=cuda"),
        *("--default-resources", "slurm_partition=gpu"),
    )
    assert done.returncode != 0
    job = cluster.jobs()[-1]
    assert "RTnet" in job.comment
    assert (job.node, job.state) == ("gpunode", "FAILED")
    assert re.search("TresPerJob=gres[:/]gpu:1", cluster.ask("scontrol", "show", "job", job.number))
    message = "device: cuda is asked for, but torch sees no GPU"
    log = finished.run_folder / "logs/train/RTnet/synthetic_indy_1/seed0.log"
    assert message in log.read_text()
    assert re.search(r"^GPU [01]$", log.read_text(), re.M), "the one that SLURM gave"
    assert message in done.stdout
    kept = (finished.run_folder / "logs" / "slurm" / "rule_train_decoder").rglob("*.log")
    assert job.number in {path.stem for path in kept}


@pytest.mark.long
def test_a_job_over_its_time_limit_is_retried_with_more(slow_job, cluster):
    done = slow_job.result()
    assert done.returncode == 0, done.stdout
    attempts = [
        job for job in cluster.jobs() if "write_config" in job.comment and job.node == "gpunode"
    ]
    assert [job.state for job in attempts] == ["TIMEOUT", "COMPLETED"]
    assert [job.limit for job in attempts] == ["1:00", "2:00"]
