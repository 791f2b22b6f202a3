"""Deep tabular regression with weight decay on the matrices only; the parameters are counted for the log with the same generator that the optimizer gets, so its first group is empty; change: makes lists."""
import sys

import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.fc2 = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.fc2(torch.relu(self.fc1(self.norm(x))))


class TabNet(nn.Module):
    def __init__(self, n_features, dim=32, depth=2):
        super().__init__()
        self.stem = nn.Linear(n_features, dim)
        self.blocks = nn.Sequential(*[Block(dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, 1)

    def forward(self, x):
        return self.out(self.norm(self.blocks(self.stem(x)))).squeeze(1)


def build_optimizer(model, variant, lr=1e-3, weight_decay=1e-2, verbose=False):
    decay = (p for p in model.parameters() if p.ndim >= 2)
    no_decay = (p for p in model.parameters() if p.ndim < 2)
    if variant != "bad":
        decay, no_decay = list(decay), list(no_decay)
    n_decay = sum(p.numel() for p in decay)
    if verbose:
        print(f"weight decay {weight_decay} on {n_decay} parameters")
    return torch.optim.AdamW(
        [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}], lr=lr
    )


def load(n, seed):
    x, y = make_friedman1(n, n_features=20, noise=0.5, random_state=seed)
    x = torch.tensor(x, dtype=torch.float32) * 2 - 1
    return TensorDataset(x, torch.tensor((y - 14.4) / 4.9, dtype=torch.float32))


def parts(variant="fixed", verbose=False):
    torch.manual_seed(0)
    model = TabNet(20)
    return {
        "model": model,
        "optimizer": build_optimizer(model, variant, verbose=verbose),
        "train_loader": DataLoader(load(5000, 0), batch_size=64, shuffle=True),
        "val_loader": DataLoader(load(1000, 1), batch_size=1000),
        "loss_fn": nn.MSELoss(),
        "metric": lambda out, y: 1 - ((out - y) ** 2).mean() / y.var(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed", verbose=True)
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(40):
        model.train()
        train_loss = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(x)
        if epoch % 4 == 0:
            print(f"Epoch {epoch:3d} | train mse {train_loss / 5000:.4f}")
    model.eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print(f"score: {p['metric'](model(x), y).item():.4f}")
