"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from spikereach.config import Stage


class SMORMS3(torch.optim.Optimizer):
    """RMSprop whose memory and step adapt to how consistent the gradient is.

    S. Funk, "RMSprop loses to SMORMS3 - Beware the Epsilon!" (2015). Per parameter, with
    memory m = 1 at the start::

        r = 1 / (m + 1);  a <- (1 - r) a + r g;  b <- (1 - r) b + r g^2
        x = a^2 / (b + eps);  p <- p - g min(lr, x) / (sqrt(b) + eps);  m <- 1 + m (1 - x)

    Args:
        params: parameters or parameter groups.
        lr: largest step relative to the root mean square of the gradient.
        eps: guards the divisions.
        weight_decay: L2, added to the gradient.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        eps: float = 1e-16,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["eps"], group["weight_decay"])

    def _update(self, parameter: Tensor, lr: float, eps: float, weight_decay: float) -> None:
        gradient = parameter.grad
        if weight_decay:
            gradient = gradient.add(parameter, alpha=weight_decay)
        state = self.state[parameter]
        if not state:
            state["memory"] = torch.ones_like(parameter)
            state["mean"] = torch.zeros_like(parameter)
            state["mean_square"] = torch.zeros_like(parameter)
        memory, mean, mean_square = state["memory"], state["mean"], state["mean_square"]
        rate = 1 / (memory + 1)
        mean.lerp_(gradient, rate)
        mean_square.lerp_(gradient.square(), rate)
        consistency = mean.square() / (mean_square + eps)
        parameter.addcdiv_(
            gradient * consistency.clamp(max=lr), mean_square.sqrt() + eps, value=-1.0
        )
        memory.mul_(1 - consistency).add_(1)


OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "smorms3": SMORMS3}


def build(stage: Stage, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """The optimiser of a training stage."""
    return OPTIMISERS[stage.optimiser](
        parameters, lr=stage.learning_rate, weight_decay=stage.weight_decay
    )


def learning_rate(stage: Stage, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0.

    "cosine" would reach zero after ``cosine_epochs``, by default after the last epoch.
    """
    if stage.schedule == "constant":
        return stage.learning_rate
    phase = math.pi * epoch / (stage.cosine_epochs or stage.epochs)
    return stage.learning_rate * 0.5 * (1 + math.cos(phase))
