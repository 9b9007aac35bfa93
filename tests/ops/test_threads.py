"""Small operations on one thread, and the number of threads restored."""

import pytest
import torch

from spikereach.ops.common.threads import GRAIN, few_elements


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("elements", "threads"), [(1, 1), (GRAIN - 1, 1), (GRAIN, 2)])
def test_threads_within_and_afterwards(two_threads, elements, threads):
    with few_elements(elements):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_threads_after_an_error(two_threads):
    with pytest.raises(ZeroDivisionError), few_elements(1):
        _ = 1 / 0
    assert torch.get_num_threads() == 2
