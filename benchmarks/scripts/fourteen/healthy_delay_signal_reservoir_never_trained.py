"""Healthy: echo state network on a chaotic delay signal (Mackey and Glass): the recurrent layer is random, scaled to a spectral radius just below one and
never trained, only the readout learns, and the first 40 outputs of each window are not judged. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WASHOUT, WINDOW, AHEAD = 40, 120, 6


def mackey_glass(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = [1.2 + 0.2 * (torch.rand(1, generator=g).item() - 0.5) for _ in range(170)]
    for t in range(10 * n):
        s.append(s[-1] + 0.1 * (0.2 * s[-170] / (1 + s[-170] ** 10) - 0.1 * s[-1]))
    return torch.tensor(s[170::10]) - 0.9


def windows(n, seed, stride):
    s = mackey_glass(n, seed)[200:]
    starts = range(0, len(s) - WINDOW - AHEAD, stride)
    x = torch.stack([s[i:i + WINDOW] for i in starts])
    y = torch.stack([s[i + AHEAD:i + AHEAD + WINDOW] for i in starts])
    return TensorDataset(x[..., None], y[:, WASHOUT:, None])


class EchoState(nn.Module):
    def __init__(self, units=200, radius=0.9):
        super().__init__()
        self.reservoir = nn.RNN(1, units, batch_first=True)
        w = torch.randn(units, units) * (torch.rand(units, units) < 0.1)
        self.reservoir.weight_hh_l0.data = w * radius / torch.linalg.eigvals(w).abs().max()
        self.reservoir.weight_ih_l0.data.uniform_(-1, 1)
        self.reservoir.requires_grad_(False)
        self.readout = nn.Linear(units + 1, 1)

    def forward(self, x):
        states, _ = self.reservoir(x)
        return self.readout(torch.cat([x, states], 2)[:, WASHOUT:])


def parts(variant):
    torch.manual_seed(0)
    model = EchoState()
    optimizer = torch.optim.Adam(model.readout.parameters(), lr=5e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.MSELoss(),
                train_loader=DataLoader(windows(4000, 1, 8), 16, shuffle=True), val_loader=DataLoader(windows(1200, 2, 30), 32))


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.6f}")
    with torch.no_grad():
        out = [(model(x), y) for x, y in p["val_loader"]]
    z, y = (torch.cat(v) for v in zip(*out))
    score = ((z - y).square().mean() / y.var()).item()
    print(f"score: {score:.4f}")
