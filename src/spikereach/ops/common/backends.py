"""Which backend of an operation runs."""

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, reduce
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Backend = Literal["reference", "cpu", "cuda"]

MODULES: dict[Backend, str] = {"reference": "reference", "cpu": "cpu", "cuda": "triton"}
"""In an operation's folder, imported when first asked for; only ``reference`` must be there."""

MAX_UNITS = 128
"""Recurrent units whose weights fit into the registers of one program on CUDA."""

_ONLY: ContextVar[Backend | None] = ContextVar("backend", default=None)


@contextmanager
def only(backend: Backend) -> Iterator[None]:
    """Run every operation within by this backend.

    ``reference`` calls every layer as a module, recurrent ones once per step, which is what hooks
    such as NeuroBench's must see.
    """
    token = _ONLY.set(backend)
    try:
        yield
    finally:
        _ONLY.reset(token)


def may_compile(*inputs: Tensor) -> bool:
    """Whether compiled loops may take these inputs in the place of a module: on the CPU, without
    their gradient, and not where :func:`only` asks for the reference."""
    free = _ONLY.get() != "reference"
    return free and all(x.device.type == "cpu" and not x.requires_grad for x in inputs)


def choose(
    operation: str,
    choice: Backend | None,
    *tensors: Tensor | float | None,
    recurrent: Tensor | None = None,
    cuda: bool = True,
) -> ModuleType:
    """The backend of this name, that of :func:`only`, or the fastest that fits the tensors.

    Args:
        operation: its package, of which backends are modules.
        choice: a name of :data:`MODULES`, or None.
        tensors: what decides which backends fit.
        recurrent: recurrent weight (N, N), whose size decides, too.
        cuda: whether the Triton kernels have what is asked for; if not, CUDA gets the reference.
    Raises:
        ValueError: the Triton kernels are asked for by name, and do not have it.
    """
    choice = choice or _ONLY.get()
    if choice == "cuda" and not cuda:
        raise ValueError(f"{operation} has no Triton kernel in fixed point: take the reference")
    if choice is None and fits_cpu(*tensors, recurrent) and _has(operation, "cpu"):
        choice = "cpu"
    elif choice is None and fits_cuda(*tensors, recurrent=recurrent) and _has(operation, "cuda"):
        choice = "cuda" if cuda else None
    return _module(operation, choice or "reference")


@cache
def _module(operation: str, backend: Backend) -> ModuleType:
    return importlib.import_module(f"{operation}.{MODULES[backend]}")


@cache
def _has(operation: str, backend: Backend) -> bool:
    return importlib.util.find_spec(f"{operation}.{MODULES[backend]}") is not None


def fits_cpu(*tensors: Tensor | float | None) -> bool:
    """Whether the compiled loops compute with these: float32 on the CPU."""
    return all(
        t.device.type == "cpu" and t.dtype == torch.float32
        for t in tensors
        if isinstance(t, Tensor)
    )


def fits_cuda(*tensors: Tensor | float | None, recurrent: Tensor | None = None) -> bool:
    """Whether these are on CUDA, and the Triton kernels compute with them there."""
    given = [t for t in (*tensors, recurrent) if isinstance(t, Tensor)]
    if not all(t.device.type == "cuda" for t in given):
        return False
    return fits_kernels(*tensors, recurrent=recurrent) and _triton_works()


def fits_kernels(*tensors: Tensor | float | None, recurrent: Tensor | None = None) -> bool:
    """Whether the Triton kernels compute with these: together of float32 as PyTorch promotes
    types, wherever they are."""
    given = [t for t in (*tensors, recurrent) if isinstance(t, Tensor)]
    kind = reduce(torch.promote_types, (t.dtype for t in given if t.dim()))
    small = recurrent is None or len(recurrent) <= MAX_UNITS
    return kind == torch.float32 and small


@cache
def _triton_works() -> bool:
    """Whether Triton is installed, and a C compiler, with which it builds kernels' launchers."""
    if importlib.util.find_spec("triton") is None:
        return False
    if os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"):
        return True
    log.warning(
        "neurons run step by step, many times slower: Triton needs a C compiler; install gcc"
    )
    return False
