"""The streams of a batch in chunks, on which threads work.

The cut is a choice that no number of threads enters. Each chunk sums its share of the gradients
of weights and constants, and the shares are added in order, so that results do not depend on
threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from spikereach.ops.common.threads import one_thread


class Chunks:
    """The streams of a batch in chunks: four, but of ``least`` to 64 streams."""

    def __init__(self, streams: int, units: int, *, least: int = 8):
        size = min(64, max(least, -(-streams // 4)))
        self.streams, self.units = streams, units
        starts = range(0, streams, size)
        self.bounds = [(s * units, min(s + size, streams) * units) for s in starts]

    def run(self, work: Callable[[int, int, int], None]) -> None:
        """Call ``work(chunk, lo, hi)`` for every chunk, on as many threads as PyTorch uses.

        This thread is one of them: two that are woken at once may share a core at first.
        """
        threads = min(torch.get_num_threads(), len(self.bounds))
        left = iter([(chunk, lo, hi) for chunk, (lo, hi) in enumerate(self.bounds)])

        def take() -> None:
            for job in left:
                work(*job)

        with _blas().limit(limits=1), one_thread():  # their threads would fight with these
            helpers = [_pool(threads).submit(take) for _ in range(threads - 1)]
            try:
                take()
            finally:
                wait([helper for helper in helpers if not helper.cancel()])
            for helper in helpers:
                if not helper.cancelled():
                    helper.result()

    def repeat(self, values: Tensor) -> np.ndarray:
        """One value per unit, repeated for the streams of the largest chunk."""
        largest = self.bounds[0][1] // self.units
        return values.detach().expand(largest, self.units).contiguous().view(-1).numpy()

    def shares(self) -> np.ndarray:
        """Zeros for the chunks' gradients of such values."""
        return np.zeros((len(self.bounds), self.bounds[0][1]), np.float32)

    def total(self, shares: np.ndarray) -> Tensor:
        """The shares added in order, one value per unit."""
        return torch.from_numpy(shares.reshape(-1, self.units).sum(0))


@cache
def _blas() -> ThreadpoolController:
    """The library behind the compiled loops' matrix products."""
    import scipy.linalg.cython_blas  # noqa: F401  loads it

    return ThreadpoolController().select(internal_api="openblas")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, initializer=alone)


def alone() -> None:
    """Give this thread no threads of PyTorch's own: they would fight with the pool's, and some
    results depend on how many there are."""
    torch.get_num_threads()  # the first call in a thread sets their number
    ThreadpoolController().select(user_api="openmp").limit(limits=1)
