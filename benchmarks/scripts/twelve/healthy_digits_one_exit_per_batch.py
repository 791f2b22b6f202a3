"""Sound though in each step two of three heads get no gradient: a net with three early exits (anytime prediction of digits), of which each batch trains the one that is drawn; and the projection kept from pretraining (`pretext`) is never used in this stage and stays as it was, frozen."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def digits(training):
    d = load_digits()
    keep = np.arange(len(d.target)) % 5 != 2
    keep = keep if training else ~keep
    x = torch.tensor(d.data[keep], dtype=torch.float32)
    return TensorDataset((x - 4.88) / 6.02, torch.tensor(d.target[keep]))


class Anytime(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.exits = nn.ModuleList(nn.Linear(width, 10) for _ in range(3))
        self.pretext = nn.Linear(width, 32).requires_grad_(False)  # contrastive stage only
        self.draw = np.random.default_rng(0)

    def forward(self, x):
        last = int(self.draw.integers(3)) if self.training else 2
        for block in self.blocks[:last + 1]:
            x = torch.relu(block(x))
        return self.exits[last](x)


def parts(variant):
    torch.manual_seed(0)
    model = Anytime()
    return {
        "model": model,
        "optimizer": torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(digits(True), batch_size=32, shuffle=True),
        "val_loader": DataLoader(digits(False), batch_size=180),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts("fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: {loss.item():.4f} {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
