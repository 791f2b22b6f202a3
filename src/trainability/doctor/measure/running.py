"""Running statistics of batch norm: how slowly they leave the mean 0 and the variance 1 that they start from."""

from typing import Any

from torch import nn

SLOW = 0.01  # of a momentum: below, a hundred batches leave a third and more of the start
_FRESH = 2  # batches, after which they are still those of the start


def running_facts(model: nn.Module) -> dict[str, Any]:
    """The field of `Facts` about them: the slowest of those that are at their start; nothing where none is slow."""
    found = {
        name: float(module.momentum)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.momentum is not None
        and module.num_batches_tracked is not None
        and int(module.num_batches_tracked) <= _FRESH
    }
    slow = {name: momentum for name, momentum in found.items() if momentum < SLOW}
    return {"slow_statistics": min(slow.items(), key=lambda item: item[1])} if slow else {}
