"""Learns when a vault opens: if an odd number of three certain switches out of fourteen is up. What could look odd: for the first epochs the loss stays at 0.69 and accuracy at one half, as if nothing were learned. Why it is right: no single switch and no pair tells anything, so the start is slow by nature; then the network finds the three and is almost always right."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SWITCHES, SECRET = 14, (2, 7, 11)


def attempts(n, gen, misread=0.02):
    up = torch.randint(0, 2, (n, SWITCHES), generator=gen)
    opens = up[:, SECRET].sum(1) % 2
    wrong = (torch.rand(n, generator=gen) < misread).long()
    return TensorDataset(2.0 * up - 1.0, (opens ^ wrong).float())


class VaultNet(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.fc1 = nn.Linear(SWITCHES, width)
        self.fc2 = nn.Linear(width, 1)

    def forward(self, switches):
        return self.fc2(torch.relu(self.fc1(switches))).squeeze(1)


def accuracy(logits, opens):
    return ((logits > 0) == (opens > 0.5)).float().mean().item()


def parts(variant):
    torch.manual_seed(30)
    gen = torch.Generator().manual_seed(300)
    train, val = attempts(5000, gen), attempts(1000, gen, misread=0.0)
    model = VaultNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.BCEWithLogitsLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=100, shuffle=True),
            "val_loader": DataLoader(val, batch_size=1000)}


WORKS = lambda score: score > 0.9


def train_one_epoch(p):
    total = 0.0
    for switches, opens in p["train_loader"]:
        loss = p["loss_fn"](p["model"](switches), opens)
        p["optimizer"].zero_grad()
        loss.backward()
        p["optimizer"].step()
        total += loss.item()
    return total / len(p["train_loader"])


def evaluate(p):
    with torch.no_grad():
        switches, opens = next(iter(p["val_loader"]))
        return p["metric"](p["model"](switches), opens)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        loss = train_one_epoch(p)
        if epoch % 2 == 0:
            print(f"epoch {epoch}: loss {loss:.4f}, accuracy {evaluate(p):.3f}")
    print("score:", evaluate(p))
