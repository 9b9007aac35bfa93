"""Exported decoders on emulated microcontrollers: equality, instructions and memory.

QEMU stands for the chip. It counts instructions, not cycles, and counts them the same each time.
Nothing here imports torch.
"""
