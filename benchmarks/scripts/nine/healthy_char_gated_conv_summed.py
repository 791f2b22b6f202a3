"""Sound: a character model of gated causal convolutions, Adamax at 0.004; the loss is summed over batch and time, over 4,000 nats at first and hundreds at the end, and the gradient is clipped to 10 in every step, which Adamax does not mind."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

T = 40


def log_text():
    rng = np.random.default_rng(5)
    who, what = ["pump", "valve", "fan", "heater", "door"], ["started", "stopped", "failed", "was checked"]
    where, why = ["in hall one", "on deck two", "at the gate", "under the roof"], ["by the night crew", "after a warning", "as planned"]
    lines = [f"{h:02d}:{m:02d} {rng.choice(who)} {rng.choice(what)} {rng.choice(where)} {rng.choice(why)}\n"
             for h, m in zip(rng.integers(0, 24, 1400), rng.integers(0, 60, 1400))]
    return "".join(lines)


class Gated(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        self.pad = dilation * 2
        self.conv = nn.Conv1d(c, 2 * c, 3, dilation=dilation)

    def forward(self, h):
        a, b = self.conv(F.pad(h, (self.pad, 0))).chunk(2, dim=1)
        return h + torch.tanh(a) * torch.sigmoid(b)


class CharConv(nn.Module):
    def __init__(self, vocab, c=64):
        super().__init__()
        self.embed = nn.Embedding(vocab, c)
        self.body = nn.Sequential(*[Gated(c, d) for d in (1, 2, 4)])
        self.head = nn.Linear(c, vocab)

    def forward(self, i):
        return self.head(self.body(self.embed(i).transpose(1, 2)).transpose(1, 2))


def summed(out, target):
    return F.cross_entropy(out.flatten(0, 1), target.flatten(), reduction="sum")


def parts(variant):
    torch.manual_seed(0)
    text = log_text()
    chars = sorted(set(text))
    code = torch.tensor([chars.index(c) for c in text])
    cut = len(code) * 9 // 10
    def cuts(a):
        n = (len(a) - 1) // T
        return TensorDataset(a[:n * T].view(n, T), a[1:n * T + 1].view(n, T))
    model = CharConv(len(chars))
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=0.004),
        "loss_fn": summed,
        "train_loader": DataLoader(cuts(code[:cut]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(cuts(code[cut:]), batch_size=128),
    }


@torch.no_grad()
def nats(model, loader):
    model.eval()
    total = sum(summed(model(x), y).item() for x, y in loader)
    return total / (len(loader.dataset) * T)


WORKS = lambda score: score > -0.45                   # minus nats per character; most of what is left is chance

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.0f}, norm {norm:.0f}, nats per character {nats(model, p['val_loader']):.3f}")
    print(f"score: {-nats(model, p['val_loader']):.4f}")
