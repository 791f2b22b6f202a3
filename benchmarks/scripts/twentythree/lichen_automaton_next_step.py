"""Fully convolutional network that learns the rule of a lichen automaton (which cells are alive one step later). The mistake: no activation between the convolutions, so the network is one linear filter and a rule with both a lower and an upper neighbour count is out of its reach; the right change: a ReLU after each hidden convolution."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def next_step(grid):
    count = sum(np.roll(grid, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) - grid
    born = (grid == 0) & ((count == 2) | (count == 5))
    stays = (grid == 1) & ((count == 3) | (count == 4))
    return (born | stays).astype(np.float32)


class Stones(Dataset):
    def __init__(self, n, seed, size=16):
        rng = np.random.default_rng(seed)
        self.now = [(rng.random((size, size)) < rng.uniform(0.25, 0.55)).astype(np.float32) for _ in range(n)]
        self.then = [next_step(g) for g in self.now]

    def __len__(self):
        return len(self.now)

    def __getitem__(self, i):
        return torch.from_numpy(self.now[i])[None], torch.from_numpy(self.then[i])[None]


class RuleNet(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.look = nn.Conv2d(1, 32, 3, padding=1, padding_mode="circular")
        self.mix = nn.Conv2d(32, 32, 1)
        self.decide = nn.Conv2d(32, 1, 1)
        self.act = act

    def forward(self, x):
        x = self.act(self.look(x))
        x = self.act(self.mix(x))
        return self.decide(x)


def balanced(out, y):
    hit = ((out > 0) == (y > 0.5)).float()
    return 0.5 * (hit[y > 0.5].mean() + hit[y < 0.5].mean()).item()


def parts(variant):
    torch.manual_seed(2)
    net = RuleNet(nn.Identity() if variant == "bad" else nn.ReLU())
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=5e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(Stones(320, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Stones(64, 2), batch_size=64), "metric": balanced}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        losses = []
        for now, then in p["train_loader"]:
            loss = p["loss_fn"](net(now), then)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = np.mean([balanced(net(a), b) for a, b in p["val_loader"]])
        print(f"epoch {epoch}: bce {np.mean(losses):.3f}  balanced accuracy {score:.3f}")
    print("score:", score)
