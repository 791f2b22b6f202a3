"""Inputs of which all rows are the same."""

from typing import Any

from torch import Tensor

from trainability.doctor.batches import first_tensor, tensors

_FEWEST = 8  # rows
_ALIKE = 1e-5  # of the largest answer: kernels sum rows in blocks, in another order


def are_one_row(inputs: Any, output: Any, batch: list[tuple[str, Tensor]]) -> bool:
    """Whether all inputs of a call with as many rows as the first are one row over and over, and all answers are alike.

    Args:
        inputs: positional arguments of the call, each a tensor or a structure of tensors.
        output: what it returned.
        batch: tensors of the batch by their place, which may hold one example over and over.
    """
    given, answer = first_tensor(inputs), first_tensor(output)
    if given is None or answer is None or given.dim() < 2 or len(given) < _FEWEST or answer.shape[:1] != given.shape[:1]:
        return False
    beside = [x for _, x in tensors(inputs) if x.shape[:1] == given.shape[:1]]
    of_batch = {tensor.data_ptr() for _, tensor in batch}
    if given[0].numel() < 2 or any(x.data_ptr() in of_batch or not bool((x == x[:1]).all()) for x in beside):
        return False
    plain = answer.detach().float()
    return bool((plain - plain[:1]).abs().max() <= _ALIKE * plain.abs().max()) and bool(plain.isfinite().all())
