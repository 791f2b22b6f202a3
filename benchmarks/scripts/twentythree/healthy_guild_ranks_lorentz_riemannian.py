"""Embedding of a tree on the hyperboloid (Lorentz model) with a hand-written Riemannian SGD (metric, tangent projection, exponential map) and the squared Lorentzian distance in a softmax over sampled negatives. Unusual: no layers, a constraint kept by the optimizer, rate about one; the score is the mean average precision of the tree's edges."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def tree(branch=3, depth=4):
    edges, level, n = [], [0], 1
    for _ in range(depth):
        nxt = []
        for parent in level:
            for _ in range(branch):
                edges.append((parent, n))
                nxt.append(n)
                n += 1
        level = nxt
    return edges, n


EDGES, N = tree()
NEIGHBOURS = [set() for _ in range(N)]
for a, b in EDGES:
    NEIGHBOURS[a].add(b)
    NEIGHBOURS[b].add(a)


class Pairs(Dataset):
    """(node, true neighbour, 20 nodes that are not neighbours)"""
    def __init__(self):
        self.pairs = EDGES + [(b, a) for a, b in EDGES]
        self.others = [torch.tensor([j for j in range(N) if j != i and j not in NEIGHBOURS[i]]) for i in range(N)]

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        a, b = self.pairs[i]
        pick = torch.randint(len(self.others[a]), (20,))
        return a, torch.cat([torch.tensor([b]), self.others[a][pick]])


def inner(x, y):
    return (x[..., 1:] * y[..., 1:]).sum(-1) - x[..., 0] * y[..., 0]


class Hyperboloid(nn.Module):
    def __init__(self, n, dim=6):
        super().__init__()
        space = torch.randn(n, dim, dtype=torch.float64) * 0.05
        time = (1 + (space ** 2).sum(1, keepdim=True)).sqrt()
        self.points = nn.Parameter(torch.cat([time, space], 1))

    def forward(self, a, others):
        x, y = self.points[a].unsqueeze(1), self.points[others]
        return -2 - 2 * inner(x, y)                     # squared Lorentzian distance, >= 0


class RiemannianSGD(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad.clone()
                g[:, 0].neg_()                                          # inverse of the metric
                v = -group["lr"] * (g + inner(p, g)[:, None] * p)       # into the tangent space
                norm = inner(v, v).clamp(min=1e-16).sqrt()
                v = v * (norm.clamp(max=0.5) / norm)[:, None]           # no step longer than 0.5
                norm = norm.clamp(max=0.5)[:, None]
                new = torch.cosh(norm) * p + torch.sinh(norm) * v / norm
                new[:, 0] = (1 + (new[:, 1:] ** 2).sum(1)).sqrt()       # rounding errors
                p.copy_(new)


def training_step(model, batch):
    a, others = batch
    d = model(a, others)
    return nn.functional.cross_entropy(-d, torch.zeros(len(a), dtype=torch.long), reduction="sum")


def parts(variant):
    torch.manual_seed(0)
    model = Hyperboloid(N)
    return {"model": model, "optimizer": RiemannianSGD(model.parameters(), lr=0.3), "training_step": training_step,
            "train_loader": DataLoader(Pairs(), batch_size=40, shuffle=True)}


WORKS = lambda score: score > 0.9


@torch.no_grad()
def mean_average_precision(model):
    x = model.points
    d = -2 - 2 * (x[:, 1:] @ x[:, 1:].T - x[:, :1] * x[:, :1].T)
    d.fill_diagonal_(float("inf"))
    total = 0.0
    for i in range(N):
        order = d[i].argsort().tolist()
        hits, prec = 0, 0.0
        for rank, j in enumerate(order, 1):
            if j in NEIGHBOURS[i]:
                hits += 1
                prec += hits / rank
        total += prec / len(NEIGHBOURS[i])
    return total / N


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("before:", mean_average_precision(model))
    for epoch in range(60):
        for group in opt.param_groups:
            group["lr"] = 0.03 if epoch < 10 else 0.3           # burn-in
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1}: loss per pair {total / len(p['train_loader'].dataset):.3f}  MAP {mean_average_precision(model):.3f}")
    print("score:", mean_average_precision(model))
