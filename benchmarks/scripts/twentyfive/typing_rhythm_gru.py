"""Who is typing? A GRU reads the dwell and flight times of 24 keystrokes and names one of five typists. Adam is given eps=1.0, far above the size of the gradients, so that its steps shrink to almost nothing and the network stays near its start; the right change: the usual eps=1e-8."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TYPISTS, KEYS = 5, 24
HANDS = np.array([[0.95, 1.10, 0.15, 0.0], [1.05, 0.90, 0.30, 0.6], [1.00, 1.00, -0.20, 0.0],
                  [0.85, 1.00, 0.05, 0.8], [1.10, 1.15, -0.10, 0.3]])  # dwell, flight, drift, alternation


class Keystrokes(Dataset):
    def __init__(self, sessions, seed):
        rng = np.random.default_rng(seed)
        self.typist = rng.integers(0, TYPISTS, sessions)
        dwell, flight, drift, alternate = HANDS[self.typist].T[:, :, None]
        k = np.arange(KEYS)
        hand = np.where((k + rng.integers(0, 2, (sessions, 1))) % 2 == 0, 1.0, -1.0)
        mood = rng.normal(0, 0.06, (sessions, 1))
        d = dwell + mood + drift * k / KEYS + rng.gamma(2.0, 0.08, (sessions, KEYS))
        f = flight + mood + 0.25 * alternate * hand + rng.gamma(2.0, 0.10, (sessions, KEYS))
        self.times = np.stack([d, f], -1).astype("float32") - 1.15

    def __len__(self):
        return len(self.typist)

    def __getitem__(self, i):
        return torch.from_numpy(self.times[i]), int(self.typist[i])


class TypistGRU(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, TYPISTS)

    def forward(self, x):
        _, h = self.gru(x)
        return self.out(self.norm(h[-1]))


def accuracy(logits, y):
    return (logits.argmax(-1) == y).float().mean()


def parts(variant):
    torch.manual_seed(21)
    model = TypistGRU()
    eps = 1.0 if variant == "bad" else 1e-8
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=eps),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Keystrokes(2500, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Keystrokes(600, 2), batch_size=200),
            "metric": accuracy}


WORKS = lambda score: score > 0.75


def validate(p):
    p["model"].eval()
    with torch.no_grad():
        scores = [p["metric"](p["model"](x), y) for x, y in p["val_loader"]]
    p["model"].train()
    return torch.stack(scores).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(10):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.3f}, accuracy {validate(p):.3f}")
    print("score:", validate(p))
