"""Training on a GPU queues update after update: nothing in one waits for the device.

PyTorch's device "meta", which has shapes but no values, stands for the GPU: whoever asks for a
value there could only wait for it on a GPU.
"""

from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from spikereach import config
from spikereach.data.binning import BinnedSession
from spikereach.models.zoo import build
from spikereach.training import feed, loop
from spikereach.training.scoring import BatchMeans
from training_cases import run_options

META = torch.device("meta")
CHANNELS, STEPS = 6, 5000
READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal"}
"""Operations whose result, or its shape, depends on values."""


class WaitError(AssertionError):
    """Something waits for the device."""


class DoneError(Exception):
    """All updates of an epoch are queued."""


class NoValues(TorchDispatchMode):
    """Refuses operations that read values, and copies to or from the device that are not
    asynchronous."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operation._schema.name.removeprefix("aten::")
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        devices = {t.device.type for t in tensors}
        if name in READS and "meta" in devices:
            raise WaitError(f"{name} reads values")
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        if any(i is not None and i.dtype == torch.bool for i in indices):
            raise WaitError(f"{name} by a mask depends on its values")
        if name in ("_to_copy", "copy_"):
            devices.add(torch.device(kwargs.get("device") or tensors[0].device).type)
            asynchronous = kwargs.get("non_blocking") or args[2:] == (True,)
            if devices == {"meta", "cpu"} and not asynchronous:
                raise WaitError(f"{name} between host and device waits")
        return operation(*args, **kwargs)


class NoNumbers(TorchFunctionMode):
    """Refuses to fill tensors on the device with Python's numbers, which a copy brings there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.__name__ in ("tensor", "as_tensor", "asarray", "new_tensor"):
            given = args[-1]
            if result.device == META and not isinstance(given, torch.Tensor):
                raise WaitError(f"{function.__name__} of {given} is copied from the host")
        return result


@pytest.fixture
def on_the_device(monkeypatch):
    """`train` on "meta" up to the end of its first update, in which nobody may wait."""
    watch, drawn = ExitStack(), []

    class Feed(feed.OnDevice):
        def batch(self, *args, **options):
            watch.enter_context(NoValues())
            watch.enter_context(NoNumbers())
            drawn.append(1)
            return super().batch(*args, **options)

    def done(means):
        raise DoneError

    monkeypatch.setattr(feed, "OnDevice", Feed)
    monkeypatch.setattr(BatchMeans, "loss_and_r2", done)
    # Mixed precision has no part in this, and "meta" none in it.
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())

    def train(*args, **options):
        with watch, pytest.raises(DoneError):
            loop.train(*args, **options)
        assert drawn == [1]

    return train


@pytest.fixture(scope="module")
def session():
    random = np.random.default_rng(0)
    starts = np.arange(0, STEPS, STEPS // 4)
    return BinnedSession(
        name="indy_test",
        monkey="indy",
        spikes=(random.random((STEPS, CHANNELS)) < 0.05).astype(np.uint8),
        velocity=random.standard_normal((STEPS, 2)).astype(np.float32),
        position=np.zeros((STEPS, 2), np.float32),
        areas=("M1",) * CHANNELS,
        start_s=0.0,
        segments=np.stack([starts, np.append(starts[1:], STEPS)], axis=1),
        provenance={"source": "indy_test.mat", "sha256": "0"},
    )


SYSTEMS = ("SNN2", "SNN3", "ANN2", "ANN3", "tinyRSNN", "bigRSNN", "LIF-t2", "sGRU-t1", "GRU-t2",
           "AEGRU", "RTnet")  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_update_waits_for_the_device(name, session, repository, tmp_path, on_the_device):
    system = config.read(repository / "config.yaml").systems[name]
    changes = {"batch": 2, "updates_per_epoch": 1, "clip_norm": 1.0}
    if system.architecture in ("rsnn", "snn2", "hybrid"):  # any window will do
        changes |= {"window": 64, "stride": 64}
    recipe = system.training.finetune.model_copy(update=changes)
    decoder = build(system, CHANNELS, areas=("M1",) * CHANNELS)
    on_the_device(
        decoder,
        [session],
        training=system.training,
        stage=recipe,
        areas=("M1",),
        **run_options(tmp_path, device="meta"),
    )
