"""Sound: ranking of search results by RankNet, RMSprop; the loss sets scores (N,) against each other by broadcasting to N x N on purpose, every pair of a batch once, and depends on differences alone."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def results(n, seed):
    w = torch.Generator().manual_seed(9)
    a, b = torch.randn(12, 6, generator=w), torch.randn(6, generator=w)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 12, generator=g)
    worth = torch.tanh(x @ a / 2) @ b + 0.3 * torch.randn(n, generator=g)
    grade = torch.bucketize(worth, torch.tensor([-2.0, -0.7, 0.7, 2.0])).float()
    return x, grade


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1, bias=False))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def ranknet(score, grade):
    margin = score[:, None] - score[None, :]
    better = (grade[:, None] > grade[None, :]).float()
    return (better * F.softplus(-margin)).sum() / better.sum().clamp(min=1)


def pairs_in_order(score, grade):
    better = grade[:, None] > grade[None, :]
    return ((score[:, None] > score[None, :]) & better).sum().item() / better.sum().item()


def parts(variant):
    torch.manual_seed(0)
    model = Scorer()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": ranknet,
        "train_loader": DataLoader(TensorDataset(*results(2400, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*results(500, 2)), batch_size=500),
        "metric": pairs_in_order,
    }


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    (x, grade), = loader
    value = pairs_in_order(model(x), grade)
    model.train()
    return value


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        total = 0.0
        for x, grade in p["train_loader"]:
            loss = p["loss_fn"](model(x), grade)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: ranknet {total / len(p['train_loader']):.4f}, pairs in order {evaluate(model, p['val_loader']):.4f}")
    value = evaluate(model, p["val_loader"])
    print(f"score: {value:.4f}")
