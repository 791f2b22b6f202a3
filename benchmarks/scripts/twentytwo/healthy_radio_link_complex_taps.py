"""Equaliser for a radio link with echoes: complex-valued taps and a complex widely-linear second layer, trained on |error|^2 of complex symbols with Adam; unusual: parameters, inputs and outputs are complex numbers, and only the loss is real."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
TAPS = 15


def link(n, rng):
    bits = rng.choice([-3, -1, 1, 3], (n, 2)) / np.sqrt(10)
    symbols = bits[:, 0] + 1j * bits[:, 1]
    channel = np.array([0.15 - 0.1j, 1.0, 0.35 + 0.25j, -0.15j, 0.1])
    received = np.convolve(symbols, channel)[1:n + 1]
    received = received + 0.05 * np.conj(received)          # IQ imbalance
    received += 0.03 * (rng.normal(size=n) + 1j * rng.normal(size=n))
    windows = np.lib.stride_tricks.sliding_window_view(received, TAPS)
    return torch.tensor(windows.copy(), dtype=torch.cfloat), torch.tensor(symbols[TAPS // 2:TAPS // 2 + len(windows)], dtype=torch.cfloat)


class Equaliser(nn.Module):
    def __init__(self):
        super().__init__()
        w = torch.zeros(TAPS, dtype=torch.cfloat)
        w[TAPS // 2] = 1
        self.direct = nn.Parameter(w)
        self.conjugate = nn.Parameter(torch.zeros(TAPS, dtype=torch.cfloat))

    def forward(self, r):
        return r @ self.direct + r.conj() @ self.conjugate


def error_power(out, symbol):
    return (out - symbol).abs().square().mean()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Equaliser()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": error_power,
            "train_loader": DataLoader(TensorDataset(*link(20000, rng)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*link(4000, rng)), batch_size=4000)}


def symbol_accuracy(out, symbol):
    grid = torch.tensor([-3., -1., 1., 3.]) / 10 ** 0.5
    nearest = lambda v: (v[:, None] - grid).abs().argmin(1)
    return ((nearest(out.real) == nearest(symbol.real)) & (nearest(out.imag) == nearest(symbol.imag))).float().mean().item()


WORKS = lambda score: score > 0.97

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    eq, opt = p["model"], p["optimizer"]
    x, s = next(iter(p["val_loader"]))
    print("before training", symbol_accuracy(eq(x).detach(), s))
    for epoch in range(12):
        for r, symbol in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](eq(r), symbol)
            loss.backward()
            opt.step()
        with torch.no_grad():
            out = eq(x)
        acc = symbol_accuracy(out, s)
        print(f"epoch {epoch} error power {error_power(out, s):.4f} right symbols {acc:.4f}")
    print("score:", acc)
