"""What a check is, and on which device it runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

Figures = dict[str, Any]
"""What a check measured, by name; numbers are shown in three digits."""


class SkippedError(Exception):
    """A check that cannot be made here: says what is absent."""


class MissedError(AssertionError):
    """An aim that was not reached: says which, and keeps what was measured."""

    def __init__(self, message: str, figures: Figures):
        super().__init__(message)
        self.figures = figures


class Check(NamedTuple):
    name: str
    run: Callable[[], Figures | None]
    """Makes the check; any error but :class:`SkippedError` is a failure."""


class Device(NamedTuple):
    """``cuda``, or ``interpreter``: Triton's kernels in Python on the CPU, with short sizes."""

    kind: str

    @property
    def real(self) -> bool:
        return self.kind == "cuda"

    @property
    def type(self) -> str:
        """As PyTorch names it."""
        return "cuda" if self.real else "cpu"

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes: Triton fixes how kernels run when they are defined."""
        if self.real:
            return {"TRITON_INTERPRET": "0"}
        return {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}

    @property
    def name(self) -> str:
        """That of the GPU, which must be there."""
        if not self.real:
            return "Triton's interpreter on the CPU"
        import torch

        return torch.cuda.get_device_name()

    def wait(self) -> None:
        """Until all that was begun is done."""
        if self.real:
            import torch

            torch.cuda.synchronize()

    def of(self, real: Any, short: Any) -> Any:
        """A size for a GPU, or the one that an interpreter can do."""
        return real if self.real else short

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within, the package computes as a training on a GPU does: with an interpreter, on the
        CPU."""
        if "torch" not in sys.modules:  # without it nothing computes
            yield
            return
        if self.real:
            import torch

            from spikereach.training.arithmetic import repeatable

            with repeatable(torch.device(self.type)):
                yield
            return
        from spikereach.models import hybrid, vasilache
        from spikereach.ops.common import backends

        with (
            replaced(backends, fits_cpu=lambda *tensors: False, fits_cuda=backends.fits_kernels),
            replaced(hybrid, may_compile=lambda *inputs: False),
            replaced(vasilache, may_compile=lambda *inputs: False),
        ):
            yield


@contextmanager
def replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of a module that have other values within."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
