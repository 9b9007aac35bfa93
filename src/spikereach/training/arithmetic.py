"""How the numbers of a training are computed on CUDA: exactly repeatable, in two precisions.

On the CPU all is float32, and repeatable without further ado.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
SETTINGS = (
    (torch.backends.cudnn, "benchmark", False),  # it measures which algorithm to take
    (torch.backends.cudnn, "allow_tf32", False),
    (torch.backends.cuda.matmul, "allow_tf32", False),
    (torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", False),
    (torch.utils.deterministic, "fill_uninitialized_memory", False),  # all of it is written here
)
"""Switches of PyTorch, and how they stand in a training on CUDA."""


def mixed(device: torch.device) -> torch.autocast:
    """The context of a training's forward pass: matrix products in bfloat16 on CUDA."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Trainings and validations within are functions of their inputs, bit for bit on one kind of
    GPU with one version of PyTorch, and round float32 to float32, not to TensorFloat-32.

    Random states and settings are afterwards what they were before. On the CPU only random states
    are kept.

    Raises:
        RuntimeError: within, by PyTorch, where a decoder of one's own has an operation that has no
            deterministic algorithm on CUDA; names it.
    """
    on_cuda = device.type == "cuda"
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if on_cuda else []))
        if on_cuda:
            # cuBLAS reads it when it is first used; others of its values are repeatable as well.
            os.environ.setdefault(WORKSPACE, ":4096:8")
            strict = torch.are_deterministic_algorithms_enabled()
            warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
            stack.callback(torch.use_deterministic_algorithms, strict, warn_only=warn_only)
            torch.use_deterministic_algorithms(True)
            for owner, name, value in SETTINGS:
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, value)
        yield
