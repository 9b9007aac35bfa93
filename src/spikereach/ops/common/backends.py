"""Which backend of an operation runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Literal

from torch import Tensor

Backend = Literal["reference", "cpu", "cuda"]

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


def compiled(*inputs: Tensor) -> bool:
    """Whether compiled loops may take these inputs in the place of a module: on the CPU, without
    their gradient, and not where :func:`only` asks for the reference."""
    free = _ONLY.get() != "reference"
    return free and all(x.device.type == "cpu" and not x.requires_grad for x in inputs)


def choose(
    reference: ModuleType,
    choice: Backend | None,
    *tensors: Tensor | float | None,
    recurrent: Tensor | None = None,
) -> ModuleType:
    """The backend of this name, that of :func:`only`, or the fastest that fits the tensors."""
    from spikereach.ops.common import cpu, cuda

    choice = choice or _ONLY.get()
    if choice is not None:
        return {"reference": reference, "cpu": cpu, "cuda": cuda}[choice]
    if cpu.fits(*tensors, recurrent):
        return cpu
    return cuda if cuda.fits(*tensors, recurrent=recurrent) else reference
