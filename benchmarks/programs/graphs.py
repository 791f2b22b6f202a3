"""A graph: which group a node belongs to, from its features and its friends."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.material import Data, friends
from programs.program import LARGE_STEPS, Program, but, fault


class Graph(nn.Module):
    """Graph convolutions; the adjacency is a buffer."""

    def __init__(self, *, depth: int = 2, normalised: bool = True, looped: bool = True) -> None:
        super().__init__()
        _, _, edges, _ = friends()
        edges = edges + torch.eye(len(edges)) if looped else edges
        if normalised:
            degree = edges.sum(dim=1).clamp(min=1)
            edges = edges / (degree[:, None] * degree[None]).sqrt()
        self.register_buffer("edges", edges)
        self.layers = nn.ModuleList(nn.Linear(8 if i == 0 else 24, 24) for i in range(depth))
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Features (nodes, 8) to logits (nodes, 3)."""
        for layer in self.layers:
            x = F.relu(layer(self.edges @ x))
        return self.head(x)


class Mean(nn.Module):
    """The mean of a node's friends beside itself, by indexed sums."""

    def __init__(self) -> None:
        super().__init__()
        _, _, edges, _ = friends()
        self.register_buffer("pairs", edges.nonzero().T)
        self.own, self.others, self.head = nn.Linear(8, 24), nn.Linear(8, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Features (nodes, 8) to logits (nodes, 3)."""
        at, of = self.pairs
        total = torch.zeros_like(x).index_add(0, at, x[of])
        count = torch.bincount(at, minlength=len(x)).clamp(min=1)[:, None]
        return self.head(F.relu(self.own(x) + self.others(total / count)))


def nodes() -> Data:
    """Features, groups and which nodes train; one batch is the whole graph."""
    x, group, _, train = friends()
    return x, group, train


def on_marked(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Cross-entropy on the nodes that train."""
    return F.cross_entropy(model(batch[0])[batch[2]], batch[1][batch[2]])


def _on_others(model: nn.Module, data: Data) -> float:
    right = (model(data[0]).argmax(dim=1) == data[1])[~data[2]]
    return (float(right.float().mean()) - 1 / 3) * 1.5


def _shuffled_groups() -> Data:
    x, group, train = nodes()
    return x, group[torch.randperm(len(group), generator=torch.Generator().manual_seed(2))], train


def _nothing_marked(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The mask of training nodes is empty: the mean over nothing."""
    none = torch.zeros_like(batch[2])
    return F.cross_entropy(model(batch[0])[none], batch[1][none])


def _detached(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0])[batch[2]].softmax(dim=1).softmax(dim=1), batch[1][batch[2]])


GROUPS = Program(
    model=Graph,
    train=nodes,
    held_out=nodes,
    score=_on_others,
    training_step=on_marked,
    options={"lr": 0.02},
    batch=180,
    shuffle=False,
    steps=100,
)
SLOW = but(GROUPS, optimizer=torch.optim.SGD, options={"lr": 0.3, "momentum": 0.9}, steps=200)

SOUND = {"graph": GROUPS, "graph by means": but(GROUPS, model=Mean), "graph sgd": SLOW}

FAULTS = {
    "sums over friends in six layers": fault(
        SLOW,
        "adjacency is not normalised, six layers",
        "gain_budget_high exploding_gradient activation_scale",
        model=lambda: Graph(depth=6, normalised=False),
    ),
    "sixteen layers of averages": fault(
        GROUPS,
        "sixteen graph convolutions: all nodes alike",
        "constant_output vanishing_gradient gain_budget_low",
        model=lambda: Graph(depth=16),
    ),
    "nothing marked": fault(GROUPS, "the mask of training nodes is empty", "not_finite", training_step=_nothing_marked),
    "softmax thrice": fault(SLOW, "softmax twice under cross_entropy", "softmax_twice capped_loss", training_step=_detached),
    "groups shuffled": fault(GROUPS, "groups belong to other nodes", "shuffled_labels", train=_shuffled_groups),
    "graph at rate 5": fault(
        GROUPS,
        "lr=5 under Adam",
        LARGE_STEPS,
        options={"lr": 5.0},
    ),
}
