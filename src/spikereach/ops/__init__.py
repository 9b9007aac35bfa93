"""Operations over time: one folder each, with interchangeable backends.

============= ===================================================================
backend       runs
============= ===================================================================
``reference`` plain PyTorch, one readable step per time step; any device and type
``cpu``       compiled loops, event-driven; float32 weights on the CPU
``cuda``      fused Triton kernels, the loop over time inside, the weights in registers;
              float32 on CUDA, bfloat16 currents of automatic mixed precision too. With more
              than 128 recurrent units, :func:`.scan_lif` has no place for the weights, and
              :func:`.scan_current_lif` has a loop of matrix products and fused steps
============= ===================================================================

Without a choice the fastest that fits is taken. Shapes: ``T`` steps, ``B`` streams, ``N``
units.
"""
