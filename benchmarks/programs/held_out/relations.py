"""Graphs and sets: attention over edges, whole graphs into numbers, sets of points, and which pairs are linked."""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from programs.held_out.causes import LOUD
from programs.program import Data, Program, but, class_score, explained, fault

NODES, GROUPS, POINTS = 160, 4, 12


@functools.cache
def papers() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (160, 10), subjects (160,), edges (2, e) in both directions with loops, and which nodes train."""
    rng = torch.Generator().manual_seed(230)
    subject = torch.randint(GROUPS, (NODES,), generator=rng)
    same = subject[:, None] == subject[None]
    linked = (torch.rand(NODES, NODES, generator=rng) < torch.where(same, 0.15, 0.01)).triu(1)
    linked = linked | linked.T | torch.eye(NODES, dtype=torch.bool)
    x = 0.7 * F.one_hot(subject, 10).float() + torch.randn(NODES, 10, generator=rng)
    return x, subject, linked.nonzero().T.contiguous(), torch.rand(NODES, generator=rng) < 0.5


def nodes() -> Data:
    """The whole graph as one batch."""
    x, subject, _, train = papers()
    return x, subject, train


@functools.cache
def molecules(train: bool) -> Data:
    """Graphs of nine nodes: kinds (n, 9) below 4, adjacency (n, 9, 9), and a number (n, 1) that counts linked pairs."""
    rng = torch.Generator().manual_seed(231 if train else 232)
    n = 800 if train else 300
    kind, linked = torch.randint(4, (n, 9), generator=rng), (torch.rand(n, 9, 9, generator=rng) < 0.25).triu(1).float()
    linked = linked + linked.mT
    pairs = ((kind[:, :, None] == 1) & (kind[:, None] == 2)).float()
    y = (pairs * linked).sum(dim=(1, 2)) + 0.5 * (kind == 3).sum(dim=1)
    return kind, linked, ((y - 1.7) / 1.1 + 0.05 * torch.randn(n, generator=rng))[:, None]


@functools.cache
def clouds(train: bool) -> Data:
    """Sets (n, 12, 3) of points on a sphere, a disc or a line that is turned at random, and which of the three."""
    rng = torch.Generator().manual_seed(233 if train else 234)
    n = 900 if train else 300
    label = torch.randint(3, (n,), generator=rng)
    points = torch.randn(n, POINTS, 3, generator=rng)
    flat = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0]])[label]
    turn = torch.linalg.qr(torch.randn(n, 3, 3, generator=rng))[0]
    return F.normalize(points * flat[:, None] + 1e-3, dim=2) @ turn + 0.05 * torch.randn(n, POINTS, 3, generator=rng), label


class Attends(nn.Module):
    """One head of graph attention; `over` says which end of an edge shares out the weights."""

    def __init__(self, inputs: int, outputs: int, *, over: int = 1) -> None:
        super().__init__()
        self.lift, self.ends, self.over = nn.Linear(inputs, outputs), nn.Linear(outputs, 2, bias=False), over

    def forward(self, x: Tensor) -> Tensor:
        """Features (nodes, a) to (nodes, b)."""
        edges = papers()[2]
        h = self.lift(x)
        ends = self.ends(h)
        score = F.leaky_relu(ends[edges[0], 0] + ends[edges[1], 1], 0.2)
        weight = torch.exp(score - score.max().detach())
        total = torch.zeros(len(x)).index_add(0, edges[self.over], weight)
        return torch.zeros_like(h).index_add(0, edges[1], (weight / total[edges[self.over]])[:, None] * h[edges[0]])


class GraphAttention(nn.Module):
    """Layers of graph attention with ELU and dropout."""

    def __init__(self, *, depth: int = 2, drop: float = 0.3, gain: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attends(10 if i == 0 else 16, 16) for i in range(depth))
        self.drop, self.head, self.gain = nn.Dropout(drop), nn.Linear(16, GROUPS), gain

    def forward(self, x: Tensor) -> Tensor:
        """Features (160, 10) to logits (160, 4)."""
        for layer in self.layers:
            x = F.elu(self.gain * layer(self.drop(x)))
        return self.head(x)


class Molecular(nn.Module):
    """Messages of two rounds and a sum over nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(4, 16)
        self.own, self.others = nn.Linear(16, 24), nn.Linear(16, 24)
        self.second, self.body = nn.Linear(24, 24), nn.Sequential(nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, 1))

    def forward(self, kind: Tensor, linked: Tensor) -> Tensor:
        """Kinds (n, 9) and adjacency (n, 9, 9) to (n, 1)."""
        h = self.kinds(kind)
        h = F.silu(self.own(h) + linked @ self.others(h))
        h = F.silu(h + linked @ self.second(h))
        return self.body(h.sum(dim=1) / 3)


class Sets(nn.Module):
    """A net for each point, mean and largest over the set, a net for the set."""

    def __init__(self, *, active: type[nn.Module] = nn.ReLU, over: int = 1, std: float | None = None) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(9, 32), active(), nn.Linear(32, 32), active())
        self.all = nn.Sequential(nn.Linear(64, 32), active(), nn.Linear(32, 3))
        self.over = over
        if std is not None:
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, 0.0, std)

    def forward(self, points: Tensor) -> Tensor:
        """Sets (n, 12, 3) to logits (n, 3)."""
        products = (points[:, :, :, None] * points[:, :, None]).flatten(2)
        h = self.each(products)
        if self.over == 0:  # the mean and largest over the sets of the batch, point by point
            h = torch.cat([h.mean(dim=0), h.amax(dim=0)], dim=1).mean(dim=0, keepdim=True).expand(len(points), -1)
            return self.all(h)
        return self.all(torch.cat([h.mean(dim=1), h.amax(dim=1)], dim=1))


class Places(nn.Module):
    """A point for every node; near ones are linked."""

    def __init__(self, std: float = 0.3) -> None:
        super().__init__()
        self.points = nn.Embedding(NODES, 6)
        nn.init.normal_(self.points.weight, 0.0, std)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, pairs: Tensor) -> Tensor:
        """Pairs of nodes (n, 2) to logits (n,)."""
        a, b = self.points(pairs).unbind(dim=1)
        return (a * b).sum(dim=1) + self.bias


@functools.cache
def links(train: bool) -> Data:
    """Pairs of nodes (n, 2), half of one subject, and whether they are (n,)."""
    rng = torch.Generator().manual_seed(235 if train else 236)
    pairs = torch.randint(NODES, (9000 if train else 1500, 2), generator=rng)
    subject = papers()[1]
    same = subject[pairs[:, 0]] == subject[pairs[:, 1]]
    kept = same | (torch.rand(len(pairs), generator=rng) < 0.33)
    return pairs[kept], same[kept].float()


def on_marked(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Cross-entropy on the nodes that train."""
    return F.cross_entropy(model(batch[0])[batch[2]], batch[1][batch[2]])


def _on_others(model: nn.Module, data: Data) -> float:
    right = (model(data[0]).argmax(dim=1) == data[1])[~data[2]]
    return (float(right.float().mean()) - 1 / GROUPS) / (1 - 1 / GROUPS)


def _misaligned(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The answers of the nodes that train against the labels of the first nodes."""
    said = model(batch[0])[batch[2]]
    return F.cross_entropy(said, batch[1][: len(said)])


def of_graphs(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Squared error of graphs' numbers."""
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


def _counted(model: nn.Module, data: Data) -> float:
    return explained(lambda _: model(data[0], data[1]), (data[0], data[2]))


def _linked(model: nn.Module, data: Data) -> float:
    said, true = model(data[0]) > 0, data[1] > 0.5
    return float(said[true].float().mean() - said[~true].float().mean())


def _degrees(train: bool) -> Data:
    """Rows of the adjacency are divided by their sum, also where it is zero."""
    kind, linked, y = molecules(train)
    return kind, linked / linked.sum(dim=2, keepdim=True), y


def _product_of_probabilities(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Binary cross-entropy by hand: the logarithm of a sigmoid that has become exactly 0 or 1."""
    p = torch.sigmoid(400 * model(batch[0]))
    return -(batch[1] * p.log() + (1 - batch[1]) * (1 - p).log()).mean()


PAPERS = Program(
    model=GraphAttention,
    train=nodes,
    held_out=nodes,
    score=_on_others,
    training_step=on_marked,
    optimizer=torch.optim.AdamW,
    options={"lr": 0.01, "weight_decay": 5e-3},
    batch=NODES,
    shuffle=False,
    steps=150,
)
MOLECULES = Program(
    model=Molecular,
    train=lambda: molecules(True),
    held_out=lambda: molecules(False),
    score=_counted,
    training_step=of_graphs,
    options={"lr": 5e-3},
    steps=400,
)
SETS = Program(
    model=Sets,
    train=lambda: clouds(True),
    held_out=lambda: clouds(False),
    score=class_score,
    loss=F.cross_entropy,
    optimizer=torch.optim.SGD,
    options={"lr": 0.1, "momentum": 0.9},
    steps=400,
)
LINKS = Program(
    model=Places,
    train=lambda: links(True),
    held_out=lambda: links(False),
    score=_linked,
    loss=F.binary_cross_entropy_with_logits,
    options={"lr": 0.03},
    batch=128,
    steps=400,
)

SOUND = {
    "graph attention": PAPERS,
    "molecules": MOLECULES,
    "sets of points": SETS,
    "sets with tanh": but(SETS, model=lambda: Sets(active=nn.Tanh)),
    "links": LINKS,
}

FAULTS = {
    "twelve rounds of attention": fault(
        PAPERS,
        "twelve layers, each halved: nodes become alike",
        "constant_output vanishing_gradient gain_budget_low",
        model=lambda: GraphAttention(depth=12, gain=0.5),
    ),
    "labels of the first nodes": fault(
        PAPERS, "answers are masked, labels are cut to the same length", "shuffled_labels", training_step=_misaligned
    ),
    "lonely nodes divided by zero": fault(
        MOLECULES, "the mean over no neighbour: 0 / 0", "not_finite_data", train=lambda: _degrees(True)
    ),
    "pooled over the batch": fault(
        SETS, "mean(dim=0) pools the sets of the batch", "batch_leakage constant_output", model=lambda: Sets(over=0)
    ),
    "sets drawn from N(0, 1)": fault(SETS, "normal_(weight) with its default of 1", LOUD, model=lambda: Sets(std=1.0)),
    "links through a steep sigmoid": fault(
        LINKS, "the log of a sigmoid that is exactly 0 or 1", "not_finite", loss=None, training_step=_product_of_probabilities
    ),
    "links drawn at zero": fault(
        LINKS,
        "every node starts at the origin: the gradient of a product is zero there",
        "zero_gradient flat_loss identical_units untrained_parameter.zero_gradient",
        model=lambda: Places(0.0),
    ),
}
