"""The CUDA backend: its kernels interpreted, run on a GPU where there is one, and compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spikereach.ops.common import cuda

triton = pytest.importorskip("triton", reason="Triton is not installed")

CASES = Path(__file__).with_name("triton_cases.py")


def run_cases(**environment):
    """Triton fixes how kernels run when they are defined, so that a process runs them in one way
    only."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_interpreted_kernels_equal_the_reference():
    run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to run the kernels on")
def test_kernels_on_the_gpu_equal_the_reference():
    run_cases(TRITON_INTERPRET="0")


RULE = {"RESET": "subtract", "FIXED_POINT": True}
CURRENT = {"DROPOUT": True, "OUT_BLOCK": 16}
BACKWARD = {"SPIKES": True, "SHAPE": "rational"}
KERNELS = {
    "current_lif_forward": CURRENT | {"CHECKPOINTS": True},
    "current_lif_backward": CURRENT | BACKWARD,
    "lif_forward": RULE | {"RECURRENT": True, "CHECKPOINTS": True},
    "lif_backward": RULE | {"RECURRENT": True} | BACKWARD,
}
ELEMENTWISE = {
    "integrator": {"REVERSE": True, "BLOCK": 128},
    "drop": {"BLOCK": 128},
    "current_step": {"DROPOUT": True, "BLOCK": 256},
    "current_step_back": {"DROPOUT": True, "BLOCK": 256} | BACKWARD,
}
INTEGERS = {"t", "steps", "streams", "units", "outputs", "gz_row", "count", "width", "dropped"}
NUMBERS = {"scale", "slope", "peak", "grid", "lowest", "highest"}


def compiled(name, constants, options, capability):
    """Without a GPU: as the launch of `cuda` compiles it for one of that compute capability."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(cuda._kernels(), name)
    types = {"seed": "i64", **dict.fromkeys(INTEGERS, "i32"), **dict.fromkeys(NUMBERS, "fp32")}
    types |= dict.fromkeys(constants, "constexpr")
    signature = {p.name: types.get(p.name, "*fp32") for p in kernel.params}
    source = ASTSource(kernel, signature, constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("units", [16, 64, cuda.MAX_UNITS])
@pytest.mark.parametrize("name", KERNELS)
def test_weights_stay_in_registers(name, units, capability, tmp_path, monkeypatch):
    """The kernels compile, round each product, and keep (almost) nothing of a thread in memory."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    options = cuda._launch(units)
    constants = KERNELS[name] | {"BLOCK": units, "SEGMENT": options.pop("SEGMENT")}
    kernel = compiled(name, constants, options, capability)
    assert "fma.rn.f32" not in kernel.asm["ptx"]
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.check_output([tool, "--dump-resource-usage", binary], text=True)
    stack = int(usage.partition("STACK:")[2].split()[0])
    assert stack <= 128, usage  # bytes of a thread; its weights of 128 units are 256


@pytest.mark.parametrize("ones", [(), ("streams",), ("steps", "streams", "units", "count")])
@pytest.mark.parametrize("name", [*ELEMENTWISE, *KERNELS])
def test_kernels_compile_for_sizes_of_one(name, ones, tmp_path, monkeypatch):
    """Triton makes arguments of one constants; a recording is one stream."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    arguments = {p.name for p in getattr(cuda._kernels(), name).params}
    constants = ELEMENTWISE.get(name) or KERNELS[name] | {"BLOCK": 16, "SEGMENT": 16}
    constants = constants | {one: 1 for one in ones if one in arguments}
    assert compiled(name, constants, {"enable_fp_fusion": False}, 90).asm["cubin"]


class Faked:
    """A tensor without memory that says it is on CUDA."""

    def __init__(self, *shape, dtype=torch.float32, device="cuda"):
        self.shape, self.dtype = torch.Size(shape), dtype
        self.device = torch.device(device)
        self.numel = self.shape.numel

    def dim(self):
        return len(self.shape)

    def __len__(self):
        return self.shape[0]


@pytest.fixture
def faked(monkeypatch):
    monkeypatch.setattr(cuda, "Tensor", Faked)
    cuda._triton_works.cache_clear()
    yield
    cuda._triton_works.cache_clear()


def test_cuda_is_taken_where_it_fits(faked, monkeypatch):
    monkeypatch.setenv("CC", "cc")
    state, weight = Faked(2, 8), Faked(8, 8)
    half = Faked(5, 2, 8, dtype=torch.bfloat16)
    assert cuda.fits(Faked(5, 2, 8), state, recurrent=weight)
    assert cuda.fits(half, state, recurrent=Faked(8, 8, dtype=torch.bfloat16))
    assert cuda.fits(state, Faked(dtype=torch.float64))  # numbers do not change the type
    for refused in (
        (half, half),
        (state, Faked(2, 8, device="cpu")),
        (state, Faked(2, 8, dtype=torch.float64)),
        (state, Faked(2**11, 2**10, 2**10)),
    ):
        assert not cuda.fits(*refused)
    most = cuda.MAX_UNITS
    assert cuda.fits(state, recurrent=Faked(most, most))
    assert not cuda.fits(state, recurrent=Faked(most + 1, most + 1))


def test_cuda_is_not_taken_where_triton_cannot_work(faked, monkeypatch, caplog):
    state = Faked(2, 8)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    assert not cuda.fits(state)
    assert not cuda.fits(state)
    (message,) = caplog.messages
    assert "install gcc" in message
    cuda._triton_works.cache_clear()
    monkeypatch.setattr(cuda.shutil, "which", lambda name: "/usr/bin/" + name)
    assert cuda.fits(state)
    cuda._triton_works.cache_clear()
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    assert not cuda.fits(state)
