"""Dilated conv net that predicts the next value at every time step, padded on both sides, so that it reads the value it has to predict; change: `fixed` pads on the left only."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.7
LENGTH, EDGE = 80, 16


def series(n, seed):
    """A noisy oscillator whose rhythm differs from series to series."""
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, LENGTH + 41)
    x[:, :2] = torch.randn(n, 2, generator=g)
    period = 6 + 8 * torch.rand(n, generator=g)
    a, b = 2 * 0.97 * torch.cos(2 * torch.pi / period), -0.97 ** 2
    for t in range(2, x.shape[1]):
        x[:, t] = a * x[:, t - 1] + b * x[:, t - 2] + 0.4 * torch.randn(n, generator=g)
    x = x[:, 40:]
    x = x / x.std()
    return x[:, :-1].unsqueeze(1), x[:, 1:].unsqueeze(1)


class DilatedConv(nn.Module):
    def __init__(self, cin, cout, dilation, variant):
        super().__init__()
        self.conv = nn.Conv1d(cin, cout, 3, dilation=dilation)
        self.pad = (2 * dilation, 0) if variant == "fixed" else (dilation, dilation)

    def forward(self, x):
        return self.conv(F.pad(x, self.pad))


class TCN(nn.Module):
    def __init__(self, variant, width=32, levels=4):
        super().__init__()
        self.inp = DilatedConv(1, width, 1, variant)
        self.layers = nn.ModuleList([DilatedConv(width, width, 2 ** i, variant) for i in range(levels)])
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, x):
        h = F.relu(self.inp(x))
        for layer in self.layers:
            h = h + F.relu(layer(h))
        return self.out(h)


def inner_mse(output, target):
    """The edges, where the window is filled with padding, do not count."""
    return F.mse_loss(output[..., EDGE:-EDGE], target[..., EDGE:-EDGE])


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(TensorDataset(*series(800, 1)), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(*series(200, 2)), batch_size=100)
    model = TCN(variant)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer, "train_loader": train, "val_loader": val, "loss_fn": inner_mse}


@torch.no_grad()
def forecast_r2(model):
    """What counts: the first value after the end of the series, which the model has not seen."""
    x, y = series(300, 3)
    last = torch.cat([model(x[:, :, :t])[:, 0, -1:] for t in (50, 60, 70, 80)], 1)
    true = torch.stack([y[:, 0, t - 1] for t in (50, 60, 70, 80)], 1)
    return (1 - F.mse_loss(last, true) / true.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_fn, opt = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            v = sum(loss_fn(model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch + 1} train {loss.item():.4f} val {v:.4f} forecast R2 {forecast_r2(model):.3f}")
    print(f"score: {forecast_r2(model):.4f}")
