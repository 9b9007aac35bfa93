"""A SLURM cluster on this machine: a controller and nodes as processes, from Debian's packages."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CONF = Path("/etc/slurm/slurm.conf")
"""Fixed, because jobs lose the variable that could point elsewhere."""
GRES = CONF.with_name("gres.conf")
MARK = "# Written by the tests of spikereach, which remove it.\n"
PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")


def reason_to_skip() -> str | None:
    """Why no cluster can be started here; None where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no SLURM here: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "starting SLURM's daemons needs root"
    if CONF.exists() and not CONF.read_text(encoding="utf-8").startswith(MARK):
        return f"this machine is part of a cluster already ({CONF})"
    if "SLURM_JOB_ID" in os.environ:
        return "inside a SLURM job"
    return None


class Job(NamedTuple):
    number: str
    state: str
    node: str
    limit: str
    """Of time, as [hours:]minutes:seconds."""
    comment: str
    """Rule and wildcards."""


class Cluster:
    """Nodes share the machine and its file system, as those of a cluster share theirs.

    The nodes of the partition `main` have no GPU, the one of the partition `gpu` pretends to
    have two. Time limits are enforced, memory is only counted (no control groups). One cluster
    at a time per machine: a second waits until the first has stopped.
    """

    NODES = ("node1", "node2", "gpunode")
    CPUS, MEMORY_MB = 2, 64000

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)
        self.name = self.folder.name.lower()
        self.daemons: dict[str, subprocess.Popen] = {}
        self.controller_port, *self.ports = free_ports(1 + len(self.NODES))

    def __enter__(self):
        self.lock = (CONF.parent / ".spikereach.lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            CONF.write_text(self._configuration(), encoding="utf-8")
            GRES.write_text(MARK + "NodeName=gpunode Name=gpu File=/dev/null,/dev/zero\n")
            key = self.folder / "munge.key"
            key.touch(mode=0o400)
            key.write_bytes(os.urandom(128))
            self._start(
                "munged", "--foreground", "--force", "--key-file", key,
                "--socket", self.folder / "munge.socket", "--pid-file", self.folder / "munge.pid",
                "--seed-file", self.folder / "munge.seed",
                "--log-file", self.folder / "munge.log",
            )  # fmt: skip
            wait(lambda: (self.folder / "munge.socket").exists(), "munged")
            self._start("slurmctld", "-D", "-c")
            for name in self.NODES:
                self.start_node(name)
            wait(lambda: set(self.states()) == {"idle"}, "the nodes", self.report)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        for name in self.NODES:
            self.kill_node(name)
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()
        CONF.unlink(missing_ok=True)
        GRES.unlink(missing_ok=True)
        self.lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configuration(self) -> str:
        host = socket.gethostname()
        lines = [
            f"ClusterName={self.name}",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={self.controller_port}",
            "SlurmUser=root",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            f"AuthInfo=socket={self.folder}/munge.socket",
            f"StateSaveLocation={self.folder}",
            f"SlurmdSpoolDir={self.folder}/%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/%n.pid",
            f"SlurmctldLogFile={self.folder}/slurmctld.log",
            f"SlurmdLogFile={self.folder}/%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SlurmdParameters=config_overrides",
            "SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1",
            "SlurmdTimeout=5",
            "KillWait=2",
            "MinJobAge=7200",
            "ReturnToService=2",
            "MpiDefault=none",
            "GresTypes=gpu",
            *(
                f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={self.CPUS} RealMemory={self.MEMORY_MB}"
                + " Gres=gpu:2"
                * (name == "gpunode")
                for name, port in zip(self.NODES, self.ports, strict=True)
            ),
            "PartitionName=main Nodes=node1,node2 Default=YES",
            "PartitionName=gpu Nodes=gpunode",
        ]
        return MARK + "\n".join(lines) + "\n"

    def _start(self, program: str, *arguments, name: str | None = None) -> None:
        """In the foreground, and gone with this process whatever ends it."""
        name = name or program
        with (self.folder / f"{name}.out").open("a") as output:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", shutil.which(program), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start_node(self, name: str) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        self._start("slurmd", "-D", "-N", name, name=name)

    def kill_node(self, name: str) -> None:
        """As a power cut: the daemon and all that runs under it, by kill -9."""
        daemon = self.daemons.pop(name, None)
        if daemon is None:
            return
        daemon.kill()
        daemon.wait()
        jobs = {f"SLURM_CLUSTER_NAME={self.name}".encode(), f"SLURMD_NODENAME={name}".encode()}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                job = jobs <= set((process / "environ").read_bytes().split(b"\0"))
                # Daemons of job steps overwrite their environment, but keep the node's log open.
                log = any(each.readlink() == self._log(name) for each in (process / "fd").iterdir())
                if job or log:
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:  # ended meanwhile
                continue

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def states(self) -> list[str]:
        """Of all nodes: idle, mixed, allocated, down, ..."""
        return self.ask("sinfo", "-N", "-h", "-o", "%T").split()

    def jobs(self) -> list[Job]:
        """All jobs so far, oldest first."""
        lines = self.ask("squeue", "--states=all", "--sort=i", "-h", "-o", "%i|%T|%N|%l|%k")
        return [Job(*line.split("|", 4)) for line in lines.splitlines()]

    def ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def report(self) -> str:
        texts = [path.read_text(errors="replace")[-3000:] for path in self.folder.glob("*.log")]
        return self.ask("sinfo", "-N", "-l") + "\n".join(texts)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait(condition, what: str, report=lambda: "", limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s:.0f} s for {what}\n{report()}")
        time.sleep(0.1)
