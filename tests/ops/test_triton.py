"""The CUDA backend: its kernels interpreted, run on a GPU where there is one, and compiled."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from operations import OPERATIONS
from torch.utils._python_dispatch import TorchDispatchMode

from spikereach.ops.common import backends
from spikereach.ops.common.surrogates import arctan, fast_sigmoid

triton = pytest.importorskip("triton", reason="Triton is not installed")

SEGMENT = 16
"""Steps from one checkpoint to the next."""

CASES = Path(__file__).with_name("test_backends.py")


def run_cases(*marks, **environment):
    """Triton fixes how kernels run when they are defined, so that a process runs them in one way
    only."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        str(CASES),
        *marks,
    ]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_interpreted_kernels_equal_the_reference():
    run_cases("-m", "not long", TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@pytest.mark.long
def test_interpreted_kernels_equal_the_reference_in_many_cases():
    run_cases("-m", "long", TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to run the kernels on")
def test_kernels_on_the_gpu_equal_the_reference():
    run_cases(TRITON_INTERPRET="0")


# Launches to compile: options beside the sizes, and gradients through all that was launched.
SIZES = {"steps": 20, "batch": 2, "seed": 0, "inputs": 5, "outputs": 2}
LIF = {"surrogate": fast_sigmoid(5.0), "reset": "subtract", "fixed_point": (1, 4)}
LAUNCHES = {
    "lif": {"recurrent": True} | LIF,
    "current_lif": {"dropout": (0.3, 0.3), "kind": torch.uint8, "wide": False}
    | LIF
    | {"fixed_point": None},  # it has no kernel in fixed point
}
OTHERS = {
    "lif alone": ("lif", {"recurrent": False} | LIF | {"fixed_point": None}),
    "wide current_lif": ("current_lif", LAUNCHES["current_lif"] | {"wide": True}),
    "current_lif in full": ("current_lif", LAUNCHES["current_lif"] | {"dropout": (None, None)}),
    "integrator": ("integrator", {"scalar": False}),
    **{name: (name, options) for name, options in LAUNCHES.items()},
}


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """A function that runs an operation with kernels that are compiled for a GPU of some compute
    capability, as their launch would do it, instead of run: the kernels by their names."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import JITFunction, create_function_from_signature

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def compile_launches(name, options, capability):
        target, found = GPUTarget("cuda", capability, 32), {}

        def run(kernel, *arguments, grid, warmup, **constants):
            backend = make_backend(target)
            constants |= {"debug": False, "instrumentation_mode": ""}
            bind = create_function_from_signature(kernel.signature, kernel.params, backend)
            bound, special, rest = bind(*arguments, **constants)
            if kernel.__name__ not in found:
                rest, *source = kernel._pack_args(backend, constants, bound, special, rest)
                source = ASTSource(kernel, *source)
                done = triton.compile(source, target=target, options=rest.__dict__)
                found[kernel.__name__] = done

        monkeypatch.setattr(JITFunction, "run", run)
        operation = OPERATIONS[name]
        leaves = {k: t.requires_grad_() for k, t in operation.draw(SIZES | options).items()}
        outputs = operation.run(leaves, SIZES | options, "cuda")
        sum(output.sum() for output in outputs).backward()
        return found

    return compile_launches


def assert_in_registers(kernel, folder):
    """It rounds each product, and keeps (almost) nothing of a thread in memory."""
    assert "fma.rn.f32" not in kernel.asm["ptx"]
    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.check_output([tool, "--dump-resource-usage", binary], text=True)
    stack = int(usage.partition("STACK:")[2].split()[0])
    assert stack <= 128, usage  # bytes of a thread; its weights of 128 units are 256


@pytest.mark.parametrize("name", LAUNCHES)
def test_weights_stay_in_registers(name, compiled, tmp_path):
    kernels = compiled(name, LAUNCHES[name] | {"units": backends.MAX_UNITS}, 90)
    for which in ("forward", "backward"):
        assert_in_registers(kernels[which], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("units", [16, 64, backends.MAX_UNITS])
@pytest.mark.parametrize("name", LAUNCHES)
def test_weights_stay_in_registers_of_all_sizes(name, units, capability, compiled, tmp_path):
    kernels = compiled(name, LAUNCHES[name] | {"units": units}, capability)
    for which in ("forward", "backward"):
        assert_in_registers(kernels[which], tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_kernels_compile(name, compiled):
    """With sizes of one, of which Triton makes constants; a recording is one stream."""
    operation, options = OTHERS[name]
    ones = {"steps": 1, "batch": 1, "units": 1}
    assert all(kernel.asm["cubin"] for kernel in compiled(operation, options | ones, 90).values())


DIVISIONS = r"\bdiv\.(?!rn\.)[\w.]*f32"
PLACES = r"tt\.addptr .*: .*, (?:tensor<[^>]*x)?i(\d+)"


@pytest.mark.parametrize("shape", [fast_sigmoid(5.0), arctan(2.0)])
@pytest.mark.parametrize("name", OTHERS)
def test_kernels_divide_as_pytorch_does(name, shape, compiled):
    """Rounded to nearest: Triton's own division may be off by two units in the last place."""
    operation, options = OTHERS[name]
    sizes = {"units": 16, "surrogate": shape}
    for kernel in compiled(operation, options | sizes, 90).values():
        assert not re.findall(DIVISIONS, kernel.asm["ptx"])


@pytest.mark.parametrize("name", OTHERS)
def test_places_are_counted_in_64_bits(name, compiled):
    """Of 2048 streams with 1024 units those in 32 bits would end after 1024 steps."""
    operation, options = OTHERS[name]
    sizes = {"units": 16, "batch": 3}
    for kernel in compiled(operation, options | sizes, 90).values():
        bits = re.findall(PLACES, kernel.asm["ttir"])
        assert len(bits) > 1
        assert set(bits) == {"64"}


class Products(TorchDispatchMode):
    """Counts the matrix products within."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.number += function.overloadpacket.__name__ in ("mm", "addmm", "addmm_")
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("dropout", [(None, None), (None, 0.3)])
def test_a_wide_layer_multiplies_once_per_step(dropout, monkeypatch):
    """By the recurrent weights; by those of the outputs once per segment."""
    from triton.runtime.jit import JITFunction

    launches = []
    run = lambda kernel, *arguments, **options: launches.append(kernel.__name__)  # noqa: E731
    monkeypatch.setattr(JITFunction, "run", run)
    steps, (operation, options) = 64, OTHERS["wide current_lif"]
    options = SIZES | options | {"steps": steps, "units": 20, "dropout": dropout}
    leaves = {k: t.requires_grad_() for k, t in OPERATIONS[operation].draw(options).items()}
    segments, inputs = steps // SEGMENT, 1
    with Products() as forward:
        outputs = OPERATIONS[operation].run(leaves, options, "cuda")
    assert forward.number == steps + segments + inputs
    assert launches == ["one_step"] * steps
    with Products() as backward:
        sum(output.sum() for output in outputs).backward()
    assert backward.number == 2 * steps + segments + inputs + 3  # the weights' gradients


@pytest.mark.long
@pytest.mark.parametrize("sizes", [{}, {"batch": 1}])
@pytest.mark.parametrize("name", OTHERS)
def test_kernels_compile_for_more_sizes(name, sizes, compiled):
    operation, options = OTHERS[name]
    kernels = compiled(operation, {"units": 16} | options | sizes, 90)
    assert all(kernel.asm["cubin"] for kernel in kernels.values())


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
    monkeypatch.setattr(backends, "Tensor", Faked)
    backends._triton_works.cache_clear()
    yield
    backends._triton_works.cache_clear()


def test_cuda_is_taken_where_it_fits(faked, monkeypatch):
    monkeypatch.setenv("CC", "cc")
    state, weight = Faked(2, 8), Faked(8, 8)
    half = Faked(5, 2, 8, dtype=torch.bfloat16)
    assert backends.fits_cuda(Faked(5, 2, 8), state, recurrent=weight)
    assert backends.fits_cuda(Faked(2**11, 2**10, 2**10), state)  # places have 64 bits
    assert backends.fits_cuda(half, state, recurrent=Faked(8, 8, dtype=torch.bfloat16))
    assert backends.fits_cuda(state, Faked(dtype=torch.float64))  # numbers do not change the type
    for refused in (
        (half, half),
        (state, Faked(2, 8, device="cpu")),
        (state, Faked(2, 8, dtype=torch.float64)),
    ):
        assert not backends.fits_cuda(*refused)
    most = backends.MAX_UNITS
    assert backends.fits_cuda(state, recurrent=Faked(most, most))
    assert not backends.fits_cuda(state, recurrent=Faked(most + 1, most + 1))


def test_cuda_is_not_taken_where_triton_cannot_work(faked, monkeypatch, caplog):
    state = Faked(2, 8)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(backends.shutil, "which", lambda name: None)
    assert not backends.fits_cuda(state)
    assert not backends.fits_cuda(state)
    (message,) = caplog.messages
    assert "install gcc" in message
    backends._triton_works.cache_clear()
    monkeypatch.setattr(backends.shutil, "which", lambda name: "/usr/bin/" + name)
    assert backends.fits_cuda(state)
    backends._triton_works.cache_clear()
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert not backends.fits_cuda(state)
