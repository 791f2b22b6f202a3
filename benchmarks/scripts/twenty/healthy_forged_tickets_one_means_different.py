"""Sound: a siamese network with a contrastive loss in the old convention, where label 1 marks a pair of different origin, so (1 - y) rightly pulls and y pushes. change: nothing."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TicketPairs(Dataset):
    """Two scans of concert tickets (20 print features); y is 1 if they come from different presses."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        press = np.random.default_rng(99).normal(size=(12, 20))
        bend = np.random.default_rng(98).normal(size=(5, 20))
        a = rng.integers(0, 12, n)
        different = rng.integers(0, 2, n)
        b = np.where(different == 1, (a + rng.integers(1, 12, n)) % 12, a)
        scan = lambda k: press[k] + rng.normal(size=(n, 5)) @ bend + 0.2 * rng.normal(size=(n, 20))
        self.first = torch.tensor(scan(a), dtype=torch.float32)
        self.second = torch.tensor(scan(b), dtype=torch.float32)
        self.y = torch.tensor(different, dtype=torch.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.stack([self.first[i], self.second[i]]), self.y[i]


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        self.leg = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 12))

    def forward(self, pair):
        left, right = self.leg(pair[:, 0]), self.leg(pair[:, 1])
        return torch.sqrt((left - right).pow(2).sum(1) + 1e-6)


def hadsell_loss(distance, y, margin=2.0):
    return ((1 - y) * 0.5 * distance ** 2 + y * 0.5 * (margin - distance).clamp(min=0) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Twin()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": hadsell_loss,
            "train_loader": DataLoader(TicketPairs(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TicketPairs(1000, 2), batch_size=200)}


WORKS = lambda score: score > 0.85


def told_apart(model, loader):
    with torch.no_grad():
        return torch.cat([((model(pair) > 1.0).float() == y).float() for pair, y in loader]).mean().item()


def main(variant):
    torch.set_num_threads(1)
    p = parts(variant)
    for epoch in range(20):
        losses = []
        for pair, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](pair), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {np.mean(losses):.4f}, told apart {told_apart(p['model'], p['val_loader']):.3f}")
    score = told_apart(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
