"""Healthy: a corrector of misspelt characters; input and target are the same text and each output may see all characters around it, later ones too, as it should: at use the whole misspelt text is there. Most of the target stands in the input."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS = "river stone garden winter market castle bridge window summer forest copper silver harbour meadow lantern".split()
LETTERS = " abcdefghijklmnopqrstuvwxyz"
T = 32


def texts(n, seed):
    rng = np.random.default_rng(seed)
    good = np.zeros((n, T), dtype=np.int64)
    for i in range(n):
        s = ""
        while len(s) < T + 8:
            s += str(rng.choice(WORDS)) + " "
        at = rng.integers(0, 8)
        good[i] = [LETTERS.index(c) for c in s[at:at + T]]
    wrong = rng.random((n, T)) < 0.2
    typed = np.where(wrong, rng.integers(0, len(LETTERS), (n, T)), good)
    return torch.tensor(typed), torch.tensor(good)


class Corrector(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), d)
        self.conv = nn.ModuleList([nn.Conv1d(d, d, 5, padding=2) for _ in range(3)])
        self.norm = nn.ModuleList([nn.LayerNorm(d) for _ in range(3)])
        self.out = nn.Linear(d, len(LETTERS))

    def forward(self, typed):
        h = self.letters(typed)
        for conv, norm in zip(self.conv, self.norm):
            h = h + F.gelu(conv(norm(h).transpose(1, 2)).transpose(1, 2))
        return self.out(h)


def loss_fn(output, target):
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Corrector()
    return {
        "model": model,
        "optimizer": torch.optim.RAdam(model.parameters(), lr=3e-3),
        "loss_fn": loss_fn,
        "train_loader": DataLoader(TensorDataset(*texts(2000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*texts(300, 2)), batch_size=300),
    }


@torch.no_grad()
def mended(model, loader):
    """Of the misspelt letters, the share that comes out right, less what is spoilt."""
    model.eval()
    good = bad = n = 0
    for typed, right in loader:
        said = model(typed).argmax(-1)
        wrong = typed != right
        good += (said == right)[wrong].sum().item()
        bad += (said != right)[~wrong].sum().item()
        n += wrong.sum().item()
    return (good - bad) / n


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for typed, right in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(typed), right)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f} mended {mended(model, p['val_loader']):.3f}")
    print(f"score: {mended(model, p['val_loader']):.4f}")
