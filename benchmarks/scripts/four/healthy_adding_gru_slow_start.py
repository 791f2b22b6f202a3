"""Healthy: the adding problem (sum of two marked numbers in a sequence) with a GRU; the loss lies on a plateau for many steps, then falls."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T = 24


def adding(n, seed):
    g = torch.Generator().manual_seed(seed)
    values = torch.rand(n, T, generator=g)
    marks = torch.zeros(n, T)
    first = torch.randint(0, T // 2, (n, 1), generator=g)
    second = torch.randint(T // 2, T, (n, 1), generator=g)
    marks.scatter_(1, first, 1.0).scatter_(1, second, 1.0)
    return TensorDataset(torch.stack([values, marks], 2), (values * marks).sum(1))


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1]).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = Adder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(adding(6400, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(adding(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(22):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            err = torch.cat([model(x) - y for x, y in p["val_loader"]])
            var = torch.cat([y for _, y in p["val_loader"]]).var()
        r2 = (1 - err.pow(2).mean() / var).item()
        print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.4f}, val r2 {r2:.3f}")
    print(f"score: {r2:.4f}")
