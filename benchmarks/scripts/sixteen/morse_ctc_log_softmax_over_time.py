"""Conv + GRU reader of noisy Morse tones with CTC; bad applies log_softmax over dimension 0, which after the permute is time, not classes; change: log_softmax over the last dimension."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CODES = {1: ".-", 2: "-...", 3: ".", 4: "..", 5: "--", 6: "-."}
FRAMES, LETTERS = 72, 3


def key(letters, rng):
    level = [0.0] * rng.integers(0, 5)
    for letter in letters:
        for mark in CODES[letter]:
            level += [1.0] * (1 if mark == "." else 3) + [0.0]
        level += [0.0] * 3
    level = np.array(level + [0.0] * (FRAMES - len(level)))
    return np.stack([level + 0.15 * rng.normal(size=FRAMES), 0.3 * rng.normal(size=FRAMES)])


def recordings(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(1, 7, size=(n, LETTERS))
    x = np.array([key(row, rng) for row in y])
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


class MorseReader(nn.Module):
    def __init__(self, norm_dim):
        super().__init__()
        self.norm_dim = norm_dim
        self.conv = nn.Conv1d(2, 32, 7, stride=2, padding=3)
        self.gru = nn.GRU(32, 48, batch_first=True, bidirectional=True)
        self.out = nn.Linear(96, 7)

    def forward(self, x):
        h = F.relu(self.conv(x)).transpose(1, 2)
        h, _ = self.gru(h)
        logits = self.out(h).permute(1, 0, 2)          # (T, N, C), as CTCLoss wants it
        return F.log_softmax(logits, dim=self.norm_dim)


def ctc(logp, target):
    t, n, _ = logp.shape
    return F.ctc_loss(logp, target, torch.full((n,), t), torch.full((n,), LETTERS), blank=0)


def greedy(logp):
    best = logp.argmax(2).T
    words = []
    for row in best.tolist():
        words.append([c for i, c in enumerate(row) if c != 0 and (i == 0 or c != row[i - 1])])
    return words


def parts(variant):
    torch.manual_seed(0)
    x, y = recordings(1400, 0)
    model = MorseReader(0 if variant == "bad" else 2)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": ctc,
            "train_loader": DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=200)}


WORKS = lambda score: score > 0.7       # words read without an error

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(20):
        net.train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = np.mean([a == b for a, b in zip(greedy(net(x)), y.tolist())])
        print(f"epoch {epoch} ctc {total / len(p['train_loader']):.3f} words {score:.3f}")
    print(f"score: {score:.4f}")
