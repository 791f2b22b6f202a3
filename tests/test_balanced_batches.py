"""Batches of P classes times K examples in a row, as for metric learning, beside data that is sorted by class."""

import pytest
import torch
from torch import Tensor

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.audits import audit_data

X = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))


def labels(kind: str) -> Tensor:
    """Of 16 batches of 32; blocks hold four of eight classes, others in each batch."""
    if kind == "sorted":
        return torch.arange(8).repeat_interleave(64)
    if kind == "long blocks":
        return torch.arange(8).repeat_interleave(40).repeat(2)[:512]
    rng = torch.Generator().manual_seed(0)
    return torch.cat([torch.randperm(8, generator=rng)[:4].repeat_interleave(8) for _ in range(16)])


@pytest.mark.parametrize(("kind", "fires"), [("sorted", True), ("long blocks", True), ("drawn", False)])
def test_blocks_of_classes_within_a_batch_are_no_order(kind: str, fires: bool) -> None:
    batches = list(zip(X.split(32), labels(kind).split(32), strict=True))
    found = diagnose(Evidence(data=audit_data(batches), num_classes=8)).findings
    assert ("class_order" in {f.rule for f in found}) is fires
