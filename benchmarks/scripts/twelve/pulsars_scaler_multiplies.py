"""Neutron-star candidates (8 statistics of a pulse profile) by an MLP; the hand-written scaler multiplies by the spread where it should divide (x - mean) * std, so columns come in the tens of thousands and the first steps throw the net out; change: divide."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def candidates(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, generator=g) < 0.4).long()
    z = torch.randn(n, 8, generator=g)
    z[:, 0] -= 1.6 * y
    z[:, 2] += 1.6 * y + 0.5 * z[:, 0] * y
    z[:, 5] += 0.9 * (z[:, 3] ** 2 - 1) * (2 * y - 1)
    scale = torch.tensor([26.0, 7.0, 1.0, 60.0, 290.0, 19.0, 4.5, 106.0])
    shift = torch.tensor([111.0, 46.0, 0.5, 200.0, 1260.0, 26.0, 8.3, 104.0])
    return z * scale + shift, y


class Scaler:
    def fit(self, x):
        self.mean, self.std = x.mean(0), x.std(0).clamp(min=1e-6)
        return self

    def transform(self, x, by):
        factor = self.std if by == "multiply" else 1.0 / self.std
        return (x - self.mean) * factor


class Candidates(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def parts(variant):
    torch.manual_seed(0)
    (xt, yt), (xv, yv) = candidates(3000, 1), candidates(800, 2)
    scaler, by = Scaler().fit(xt), "multiply" if variant == "bad" else "divide"
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(Candidates(scaler.transform(xt, by), yt), batch_size=50, shuffle=True),
        "val_loader": DataLoader(Candidates(scaler.transform(xv, by), yv), batch_size=200),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 9):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: last loss {loss.item():.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
