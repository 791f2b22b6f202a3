"""A taxonomy tree embedded in the Poincare disc by a hand-written Riemannian SGD with a burn-in rate for the first tenth of the steps; the score is the mean rank of each true link."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BRANCH, DEPTH, NEGATIVES = 3, 4, 20


def taxonomy():
    parent, level = [-1], [0]
    for _ in range(DEPTH):
        new = [(p, n) for p in level for n in range(BRANCH)]
        level = list(range(len(parent), len(parent) + len(new)))
        parent += [p for p, _ in new]
    ancestors = []
    for i in range(len(parent)):
        a = parent[i]
        while a >= 0:
            ancestors.append((i, a))
            a = parent[a]
    related = torch.eye(len(parent), dtype=torch.bool)
    links = torch.tensor(ancestors)
    related[links[:, 0], links[:, 1]] = True
    related[links[:, 1], links[:, 0]] = True
    return links, related


class Ball(nn.Module):
    def __init__(self, n, dim):
        super().__init__()
        self.points = nn.Parameter(torch.empty(n, dim).uniform_(-1e-3, 1e-3))

    def forward(self, i, j):
        u, v = self.points[i], self.points[j]
        gap = (u - v).pow(2).sum(-1)
        room = (1 - u.pow(2).sum(-1)) * (1 - v.pow(2).sum(-1))
        return torch.acosh(1 + 2 * gap / room + 1e-7)


class RiemannianSGD(torch.optim.Optimizer):
    def __init__(self, params, lr, burn_in_steps):
        super().__init__(params, {"lr": lr, "burn_in_steps": burn_in_steps})
        self.taken = 0

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr = group["lr"] * (0.1 if self.taken < group["burn_in_steps"] else 1.0)
            for p in group["params"]:
                if p.grad is None:
                    continue
                metric = (1 - p.pow(2).sum(-1, keepdim=True)).pow(2) / 4
                p.sub_(lr * metric * p.grad)
                norm = p.norm(dim=-1, keepdim=True)
                p.copy_(torch.where(norm >= 1 - 1e-4, p / norm * (1 - 1e-4), p))
        self.taken += 1


def parts(variant):
    torch.manual_seed(0)
    links, related = taxonomy()
    model = Ball(len(related), 5)
    strangers = (~related).float()

    def training_step(model, batch):
        child, ancestor = batch
        noise = torch.multinomial(strangers[child], NEGATIVES)
        others = torch.cat([ancestor.unsqueeze(1), noise], 1)
        distance = model(child.unsqueeze(1), others)
        return F.cross_entropy(-distance, torch.zeros(len(child), dtype=torch.long), reduction="sum")

    data = TensorDataset(links[:, 0], links[:, 1])
    loader = DataLoader(data, batch_size=10, shuffle=True)
    return {
        "model": model,
        "optimizer": RiemannianSGD(model.parameters(), lr=0.3, burn_in_steps=10 * len(loader)),
        "training_step": training_step,
        "train_loader": loader,
        # reconstruction of the tree itself is what is asked for
        "val_loader": DataLoader(data, batch_size=len(data)),
    }


def mean_rank(model, loader, related):
    child, ancestor = next(iter(loader))
    n = len(related)
    with torch.no_grad():
        all_distances = model(child.unsqueeze(1), torch.arange(n).unsqueeze(0))
    true = all_distances.gather(1, ancestor.unsqueeze(1))
    closer = (all_distances < true) & ~related[child]
    return 1 + closer.sum(1).float().mean().item()


WORKS = lambda score: score < 2.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    _, related = taxonomy()
    for epoch in range(150):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch} loss {total / len(p['train_loader'].dataset):.4f} mean rank {mean_rank(model, p['val_loader'], related):.3f}")
    print(f"score: {mean_rank(model, p['val_loader'], related):.4f}")
