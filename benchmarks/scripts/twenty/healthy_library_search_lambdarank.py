"""LambdaRank for library search, one query per step: the lambdas are worked out without gradient and handed to scores.backward, gradients gathered over 8 queries, the returned cost is only for the log; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Queries(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            docs = int(rng.integers(8, 25))
            x = rng.normal(size=(docs, 10))
            u = 1.2 * x[:, 0] + x[:, 1] * x[:, 2] - 0.8 * np.abs(x[:, 3]) + rng.normal(0, 0.4, docs) + rng.normal(0, 2)
            rel = np.digitize(u - u.mean(), [0.3, 1.2, 2.2])
            if rel.max() > rel.min():
                self.items.append((torch.tensor(x, dtype=torch.float32), torch.tensor(rel)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def ndcg(scores, rel, k=10):
    gain = (2.0 ** rel - 1)
    disc = 1 / torch.log2(torch.arange(len(rel)) + 2.0)
    top = (gain[scores.argsort(descending=True)] * disc)[:k].sum()
    return (top / (gain.sort(descending=True).values * disc)[:k].sum()).item()


def lambdas(s, rel):
    gain = 2.0 ** rel - 1
    rank = s.argsort(descending=True).argsort() + 1
    disc = 1 / torch.log2(rank + 1.0)
    ideal = (gain.sort(descending=True).values / torch.log2(torch.arange(len(rel)) + 2.0)).sum()
    delta = ((gain[:, None] - gain[None]) * (disc[:, None] - disc[None])).abs() / ideal
    better = (rel[:, None] > rel[None]).float()
    diff = s[:, None] - s[None]
    push = better * delta * torch.sigmoid(-diff)
    cost = (better * delta * nn.functional.softplus(-diff)).sum()
    return push.sum(0) - push.sum(1), cost


class Ranker(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def step(model, batch, optimizer):
    optimizer.zero_grad()
    total = 0.0
    for x, rel in batch:
        scores = model(x)
        with torch.no_grad():
            grad, cost = lambdas(scores, rel)
        scores.backward(grad)
        total = total + cost
    optimizer.step()
    return total / len(batch)


def parts(variant):
    torch.manual_seed(0)
    model = Ranker()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), step=step,
                train_loader=DataLoader(Queries(700, 1), 8, shuffle=True, collate_fn=list),
                val_loader=DataLoader(Queries(150, 2), 8, collate_fn=list))


WORKS = lambda score: score > 0.85  # mean NDCG at 10

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]

    def evaluate():
        with torch.no_grad():
            return float(np.mean([ndcg(model(x), rel) for batch in p["val_loader"] for x, rel in batch]))

    print("before", evaluate())
    for epoch in range(12):
        costs = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} cost {np.mean(costs):.4f} ndcg {evaluate():.4f}")
    score = evaluate()
    print(f"score: {score:.4f}")
