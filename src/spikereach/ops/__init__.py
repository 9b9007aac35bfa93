"""Operations over time: one folder each, with interchangeable backends.

================ =====================================================================
module           holds
================ =====================================================================
``__init__``     the operation: chooses a backend, notes calls that this one hides
``step``         the equation as a pure function, and the types of what it takes
``reference``    the loop over time in PyTorch
``cpu``          compiled loops and their gradients
``triton``       CUDA kernels and their gradients; imported when they are first run
``stream``       one stream, bin by bin
================ =====================================================================

An operation need not have the last three: :func:`~.common.backends.choose` looks which are there.
The equation of :func:`.scan_gru` is that of PyTorch's own cell.
What several operations share lies in ``common``; the tests of all backends learn of an operation
by an entry in ``tests/ops/operations.py``.

============= ===================================================================
backend       runs
============= ===================================================================
``reference`` plain PyTorch, one readable step per time step; any device and type
``cpu``       compiled loops, event-driven; float32 weights on the CPU
``cuda``      fused Triton kernels, the loop over time inside, the weights in registers;
              float32 on CUDA, bfloat16 currents of automatic mixed precision too. With more
              than 128 recurrent units, :func:`.scan_lif` has no place for the weights, and
              :func:`.scan_current_lif` has a loop of matrix products and fused steps. In fixed
              point it and the integrators have no kernels: on CUDA the reference runs
============= ===================================================================

Without a choice the fastest that fits is taken. Shapes: ``T`` steps, ``B`` streams, ``N``
units.
"""
