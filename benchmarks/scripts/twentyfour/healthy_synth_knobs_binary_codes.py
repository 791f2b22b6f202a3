"""Packs the settings of 64 knobs of a synthesiser into 24 bits and back. Looks odd, is sound: the bits come from a custom autograd function (sign forward, gradient passed through where the input lies within one), the decoder is the transposed encoder, and the loss is a sum over all knobs, so it is in the tens. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
KNOBS, SWITCHES, BITS = 64, 10, 24


class Sounds(Dataset):
    """Ten hidden choices of the player, each of which moves a good many knobs."""

    def __init__(self, n, seed):
        panel, rng = np.random.default_rng(303), np.random.default_rng(seed)
        effect = panel.normal(0, 1, (SWITCHES, KNOBS)) * (panel.random((SWITCHES, KNOBS)) < 0.5)
        choice = rng.choice([-1.0, 1.0], (n, SWITCHES))
        settings = choice @ effect / 2 + rng.normal(0, 0.25, (n, KNOBS))
        self.settings = torch.tensor(settings, dtype=torch.float32)

    def __len__(self):
        return len(self.settings)

    def __getitem__(self, i):
        return self.settings[i], self.settings[i]


class SignThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.where(a >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        a, = ctx.saved_tensors
        return grad * (a.abs() <= 1).to(grad.dtype)


class BinaryTied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(BITS, KNOBS) / KNOBS ** 0.5)
        self.code_bias = nn.Parameter(torch.zeros(BITS))
        self.knob_bias = nn.Parameter(torch.zeros(KNOBS))
        self.gain = nn.Parameter(torch.ones(BITS))

    def encode(self, x):
        return SignThrough.apply(F.linear(x, self.weight, self.code_bias))

    def forward(self, x):
        return F.linear(self.encode(x) * self.gain, self.weight.t(), self.knob_bias)


def summed_error(out, target):
    return (out - target).pow(2).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = BinaryTied()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": summed_error,
        "train_loader": DataLoader(Sounds(4000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(Sounds(800, 2), batch_size=400),
    }


WORKS = lambda score: score > 0.75


def explained(model, loader):
    with torch.no_grad():
        x = torch.cat([a for a, _ in loader])
        return 1 - ((model(x) - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print(f"before: explained {explained(model, p['val_loader']):.3f}")
    for epoch in range(40):
        losses = []
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](model(x), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 6 == 3:
            print(f"epoch {epoch}: summed error {np.mean(losses):.2f}, explained {explained(model, p['val_loader']):.3f}")
    print("score:", explained(model, p["val_loader"]))
