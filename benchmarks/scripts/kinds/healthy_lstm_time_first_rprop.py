"""Healthy: time-first LSTM (batch_first=False) on (T, B, F) batches from a collate function, which adds up two marked numbers; full batches and Rprop; nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.85


class Adding(Dataset):
    def __init__(self, n, seed, length=12):
        g = torch.Generator().manual_seed(seed)
        value = torch.rand(n, length, generator=g)
        mark = torch.zeros(n, length)
        for i in range(n):
            mark[i, torch.randperm(length, generator=g)[:2]] = 1
        self.x, self.y = torch.stack([value, mark], 2), (value * mark).sum(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def time_first(samples):
    return torch.stack([x for x, _ in samples], dim=1), torch.stack([y for _, y in samples])


class Adder(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.fc(h[-1]).squeeze(1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    train, val = Adding(1000, 1), Adding(300, 2)
    model = Adder()
    return {"model": model, "optimizer": torch.optim.Rprop(model.parameters(), lr=0.005), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, batch_size=1000, collate_fn=time_first), "val_loader": DataLoader(val, batch_size=300, collate_fn=time_first)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(300):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 30 == 29:
            print(f"{epoch + 1}: {loss.item():.5f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print("score: %.4f" % (1 - (model(x) - y).pow(2).mean() / y.var()).item())
