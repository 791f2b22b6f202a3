"""Stochastic gradient descent that skips updates, on the device, once the loss or the gradient is not finite."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainability.config import OptimConfig
from trainability.training.engine import full_tensor


def build_optimizer(model: nn.Module, optim: OptimConfig, *, fused: bool) -> torch.optim.SGD:
    """Build SGD over all parameters of a model, including biases.

    Args:
        model: on its device.
        optim: momentum, Nesterov, weight decay.
        fused: use one kernel for all parameters; not possible for sharded ones.
    """
    return torch.optim.SGD(
        model.parameters(),
        lr=optim.lr,
        momentum=optim.momentum,
        nesterov=optim.nesterov,
        weight_decay=optim.weight_decay,
        fused=fused,
    )


class GuardedStep:
    """Clips and steps; from the first non-finite loss or gradient norm on, it leaves the weights unchanged.

    The guard is a flag on the device that the fused kernel reads, so that no step waits for it. When the host reads the results
    some steps later, the weights are still those before the bad step, and the step can be repeated.
    """

    def __init__(self, optimizer: torch.optim.SGD, clip: float | None, device: torch.device) -> None:
        """Wrap an optimizer.

        Args:
            optimizer: of `build_optimizer`.
            clip: largest gradient norm, `None` for no clipping.
            device: of the parameters.
        """
        self.optimizer, self.clip = optimizer, clip
        self.is_fused = bool(optimizer.defaults["fused"])
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.bad = torch.zeros((), device=device)

    def __call__(self, lr: float, loss_sum: Tensor, *, on_norm: Callable[[Tensor], None] | None = None) -> Tensor:
        """Make one update and clear the gradients.

        Args:
            lr: learning rate of this step.
            loss_sum: () float, this process's loss; only whether it is finite matters. A non-finite loss in another process
                shows in the gradients, which are summed over all.
            on_norm: called with the returned norm, before the update.

        Returns:
            () float32: the norm of the gradient before clipping, on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = full_tensor(nn.utils.get_total_norm(gradients, foreach=True))
        if on_norm is not None:
            on_norm(norm)
        # The sum is finite if both are, and a finite number times 0 is 0. This takes half as many operations as testing each,
        # and the time of a small network's step is proportional to the number of its operations.
        self.bad = torch.maximum(self.bad, ((norm + loss_sum) * 0 != 0).float())
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm, foreach=True)
        if self.is_fused:
            # The attribute that torch's gradient scaler sets; the kernel skips the update if it is 1.
            self.optimizer.found_inf = self.bad  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not self.bad.item():
            # There is no fused kernel for sharded parameters, so the host waits for the device every step.
            self.optimizer.step()
        self.optimizer.zero_grad()
        return norm
