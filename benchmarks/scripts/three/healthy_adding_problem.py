"""Healthy: the adding problem, GRU; nothing seems to happen for several hundred steps at the variance of the target, then it falls."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 24


def adding(n, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(n, LENGTH, generator=g)
    marks = torch.zeros(n, LENGTH)
    first = torch.randint(0, LENGTH // 2, (n, 1), generator=g)
    second = torch.randint(LENGTH // 2, LENGTH, (n, 1), generator=g)
    marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return torch.stack([values, marks], -1), (values * marks).sum(1, keepdim=True)


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc(self.gru(x)[1][-1])


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Adder()
    return {"model": model, "loss_fn": nn.MSELoss(), "optimizer": torch.optim.RAdam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(TensorDataset(*adding(4000, 1)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*adding(500, 2)), batch_size=500)}


WORKS = lambda score: score > 0.85       # R2


def evaluate(p):
    p["model"].eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        return (1 - ((p["model"](x) - y) ** 2).mean() / y.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(18):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch}: mse {total / len(p['train_loader']):.5f} r2 {evaluate(p):.3f}")
    print(f"score: {evaluate(p):.4f}")
