"""Streams in chunks, each worked on once, whatever the threads do."""

import itertools
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikereach.ops.common.chunks import Chunks, _blas


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@given(st.integers(1, 600), st.integers(1, 5), st.integers(1, 8))
def test_chunks_are_few_and_cover_all_streams(streams, units, least):
    bounds = Chunks(streams, units, least=least).bounds
    assert bounds[0][0] == 0
    assert bounds[-1][1] == streams * units
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(bounds))
    sizes = [(stop - start) / units for start, stop in bounds]
    assert max(sizes) <= 64
    assert len(sizes) <= 4 or max(sizes) == 64
    assert len(sizes) == 1 or min(sizes[:-1]) >= least


@pytest.mark.parametrize("number", [1, 2, 5])
def test_each_chunk_is_worked_on_once(number, threads):
    threads(number)
    done, chunks = [], Chunks(250, 3)
    for times in range(1, 51):
        chunks.run(lambda *job: done.append(job))
        assert sorted(done) == sorted([(c, *b) for c, b in enumerate(chunks.bounds)] * times)


def test_threads_work_at_the_same_time(threads):
    """Two chunks that wait for each other end only if two threads hold them."""
    threads(2)
    meeting = threading.Barrier(2, timeout=20)
    Chunks(2, 1, least=1).run(lambda *_: meeting.wait())


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("faulty", [0, 1, 3])
def test_an_error_in_a_chunk_comes_out_and_threads_are_as_before(number, faulty, threads):
    threads(number)
    libraries = [library.num_threads for library in _blas().lib_controllers]

    def work(chunk, *_):
        if chunk == faulty:
            raise ZeroDivisionError(chunk)

    for _ in range(20):
        with pytest.raises(ZeroDivisionError, match=str(faulty)):
            Chunks(250, 1).run(work)
    assert torch.get_num_threads() == number
    assert [library.num_threads for library in _blas().lib_controllers] == libraries
    Chunks(250, 1).run(lambda *_: None)
