"""Nodes of one graph in one batch: labels of each split are -100 in the other, and a few nodes are no batch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import trainability
from trainability.doctor.measure.audits import audit_data
from trainability.doctor.measure.certain import facts_of
from trainability.loops.monitor import Monitor

NODES, KINDS, WORDS, TRAIN = 400, 4, 60, 160
RNG = torch.Generator().manual_seed(0)
KIND = torch.randint(0, KINDS, (NODES,), generator=RNG)
ORDER = torch.randperm(NODES, generator=RNG)


def edges() -> Tensor:
    near = torch.rand(NODES, NODES, generator=RNG) < torch.where(KIND[:, None] == KIND, 0.05, 0.005)
    both = (near | near.T).float() + torch.eye(NODES)
    return both / both.sum(dim=1, keepdim=True)


EDGES = edges()
USED = torch.rand(NODES, WORDS, generator=RNG) < 0.05 + 0.1 * torch.rand(KINDS, WORDS, generator=RNG)[KIND]
COLUMNS = (USED.float() - USED.float().mean(dim=0)) / USED.float().std(dim=0)


def labels(nodes: Tensor) -> Tensor:
    return torch.full((NODES,), -100).scatter(0, nodes, KIND[nodes])


TRAINED, HELD_OUT = labels(ORDER[:TRAIN]), labels(ORDER[TRAIN:])


class Net(nn.Module):
    """Two layers, each of which averages over neighbours."""

    def __init__(self, *flags: Any) -> None:
        super().__init__()
        self.register_buffer("edges", EDGES)
        self.first, self.second, self.flags = nn.Linear(WORDS, 32), nn.Linear(32, KINDS), flags

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.edges @ self.first(x))
        h = F.dropout(h, self.training) if self.flags else F.dropout(h, 0.3, self.training)
        return self.edges @ self.second(h)


def parts(*flags: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Net(*flags)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=0.01),
        "loss_fn": nn.CrossEntropyLoss(ignore_index=-100),
        "train_loader": [(COLUMNS, TRAINED)],
        "val_loader": [(COLUMNS, HELD_OUT)],
    }


@pytest.mark.parametrize(("flags", "told"), [((), []), ((True,), ["heavy_dropout.function"])])
def test_check(flags: Any, told: list[str]) -> None:
    found = trainability.check(trainability.Setup(**parts(*flags), rehearse_seconds=5.0))
    assert [f.code for f in found.findings if f.severity != "hint"] == told
    assert found.verdict == ("dead" if flags else "will train")


@pytest.mark.parametrize(("flags", "told"), [((), []), ((True,), ["heavy_dropout.function"])])
def test_a_watched_loop(flags: Any, told: list[str]) -> None:
    """Every step is a pass over all examples, which say nothing about whether they are memorised."""
    given = parts(*flags)
    model, optimizer = given["model"], given["optimizer"]
    with Monitor(model, optimizer, asks_step=True) as monitor:
        for _ in range(150):
            loss = given["loss_fn"](model(COLUMNS), TRAINED)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    found = monitor.diagnose()
    assert [f.code for f in found.findings if f.severity != "hint"] == told


def test_dropout_of_a_mask() -> None:
    """Word dropout that keeps nothing, drawn as a mask, and a mask of ones."""

    class Masked(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + F.dropout(torch.ones(NODES, 1), p=1.0))

    given = parts()
    model = Masked()
    model.load_state_dict(given["model"].state_dict())
    given |= {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.01)}
    found = trainability.check(trainability.Setup(**given, rehearse_seconds=5.0))
    assert "heavy_dropout.function" not in [f.code for f in found.findings]


def test_dropout_within_vmap() -> None:
    """Its numbers cannot be looked at there, and the program runs all the same."""

    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            def row(one: Tensor) -> Tensor:
                return F.dropout(self.first(one), 0.9, self.training)

            return self.second(torch.func.vmap(row, randomness="different")(x).relu())

    torch.manual_seed(0)
    model, x = Mapped(), torch.randn(64, 4)
    facts = facts_of(model, (x, (x[:, 0] > 0).long()), loss_fn=F.cross_entropy)
    assert facts.function_dropout is None
    assert facts.task_loss == "cross_entropy"


def test_splits_share_nodes_and_not_labels() -> None:
    found = audit_data([(COLUMNS, TRAINED)], [(COLUMNS, HELD_OUT)])
    assert not found.overlap_fraction
    assert (found.train.label_min, found.train.label_max) == (0, KINDS - 1)
    same = audit_data([(COLUMNS, TRAINED)], [(COLUMNS, TRAINED)])
    assert same.overlap_fraction == pytest.approx(TRAIN / NODES)
