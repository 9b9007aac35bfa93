"""Trainings that are killed and continued end with the weights of those that are not."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpu import stand_ins
from gpu.checks import Check, Device, Figures, replaced

SYSTEMS = ("tinyRSNN", "RTnet", "GRU-t2", "AEGRU")
SHORT = ("tinyRSNN",)
"""For an interpreter."""


def checks(device: Device) -> Iterator[Check]:
    for name in device.of(SYSTEMS, SHORT):

        def run(name=name) -> Figures:
            return killed(name, device)

        yield Check(f"{name}, killed in its second epoch", run)


def killed(name: str, device: Device) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        whole, twice = Path(folder) / "whole", Path(folder) / "twice"
        assert _train(name, device, whole) == 0, "the training failed; see the log"
        updates = json.loads(whole.with_suffix(".json").read_bytes())["updates"]
        code = _train(name, device, twice, kill_at=updates // 3 + 2)
        assert code == -signal.SIGKILL, f"it was to be killed, and ended with exit code {code}"
        assert twice.exists(), "no resume file was left"
        assert _train(name, device, twice) == 0, "it could not be continued; see the log"
        one, other = (json.loads(p.with_suffix(".json").read_bytes()) for p in (whole, twice))
    assert other["updates"] < updates, "it began anew instead of going on"
    differ = [name for name in one["weights"] if one["weights"][name] != other["weights"][name]]
    assert not differ, f"other weights: {', '.join(differ)}"
    return {"updates": updates, "of which again": other["updates"]}


def _train(name: str, device: Device, file: Path, kill_at: int = 0) -> int:
    """Train in a process of its own, which kills itself before an update; its exit code."""
    command = [sys.executable, "-m", __spec__.name, name, device.kind, file, str(kill_at)]
    return subprocess.run(command).returncode


def main(name: str, kind: str, file: str, kill_at: str) -> None:
    """Train, and write checksums of the weights and the number of updates beside the file."""
    with stand_ins.installed():
        import torch

        from gpu import cases
        from spikereach.identity import content_checksum
        from spikereach.training import loop

        system = cases.paper().systems[name]
    device, updates, step = Device(kind), 0, loop.step

    def counted(*arguments, **options):
        nonlocal updates
        updates += 1
        if updates == int(kill_at):
            device.wait()
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **options)

    each = cases.Trained(name, system, system.training.finetune)
    stage = cases.brief(each.stage, each.window(device.of(512, 32)), device)
    decoder = each.decoder()
    with device.taken(), replaced(loop, step=counted):
        loop.train(
            decoder,
            [cases.session(device.of(8192, 640))],
            training=each.training,
            stage=stage,
            areas=system.areas,
            seed=0,
            resume=Path(file),
            device=device.type,
            progress=False,
        )
    weights = {
        key: content_checksum(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        for key, tensor in decoder.state_dict().items()
    }
    found = {"weights": weights, "updates": updates}
    Path(file).with_suffix(".json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
