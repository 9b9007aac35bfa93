"""PyTorch's small operations without its threads."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

GRAIN = 32768
"""Elements from which PyTorch's own loops use more than one thread."""


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread within."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def few_elements(elements: int) -> AbstractContextManager[None]:
    """One thread for operations of fewer than :data:`GRAIN` elements.

    PyTorch's loops do so by themselves, its matrix products do not: in a loop over time their
    threads wait for each other longer than they work, and a hundred times longer where another
    process has one of the processor's cores.

    Args:
        elements: of the largest operation within.
    """
    return one_thread() if elements < GRAIN else nullcontext()
