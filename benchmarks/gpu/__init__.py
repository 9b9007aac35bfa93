"""Whether everything works on a GPU, by one command: `make gpu`, see docs/gpu.md.

================ =====================================================================
module           holds
================ =====================================================================
``command``      options, the groups of checks and their time boxes
``runner``       runs each group in processes of its own, prints and writes what they find
``child``        such a process
``checks``       what a check is, and the two devices: a GPU, and Triton's interpreter
``stand_ins``    in the place of packages that a machine with a GPU may lack
``exact``        comparison with float64, in which a spike may flip for a reason only
``cases``        systems, recordings and updates that the groups share
``kernels``      group: compiled kernels against the loop over time
``updates``      group: an update and a validation of every system, against the CPU
``resume``       group: trainings that are killed and continued
``speed``        group: times, memory and launches, beside other libraries
``budget``       group: GPU-hours of the whole paper
``document``     writes the budget into docs/budget.md
================ =====================================================================
"""
