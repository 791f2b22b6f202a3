"""Sound program: next value of a damped, driven oscillator by a TCN; plain SGD at lr 4 on a summed loss, each gradient cut to norm 0.01, so that every step is clipped, on purpose (normalised gradient), and the rate falls to zero at the end."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 32


def record(n, seed):
    rng = np.random.default_rng(seed)
    x, v, out = rng.normal(), rng.normal(), []
    phase = rng.uniform(0, 6)
    for i in range(n):
        force = 1.5 * np.cos(0.21 * i + phase) + 0.5 * np.cos(0.34 * i)
        v += 0.3 * (-0.8 * x - 0.3 * x ** 3 - 0.15 * v + force)
        x += 0.3 * v
        out.append(x)
    out = np.array(out) + rng.normal(0, 0.03, n)
    return torch.tensor(out / 1.5, dtype=torch.float32)


def windows(series):
    cut = series.unfold(0, WINDOW + 3, 1)
    return TensorDataset(cut[:, None, :WINDOW], cut[:, -1:])


class Causal(nn.Module):
    def __init__(self, a, b, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(a, b, 3, dilation=dilation)
        self.skip = nn.Conv1d(a, b, 1) if a != b else nn.Identity()

    def forward(self, x):
        return torch.relu(self.conv(nn.functional.pad(x, (self.pad, 0)))) + self.skip(x)


class TCN(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.layers = nn.Sequential(Causal(1, width, 1), Causal(width, width, 2), Causal(width, width, 4), Causal(width, width, 8))
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(self.layers(x)[:, :, -1])


EPOCHS = 15


def parts(variant):
    torch.manual_seed(0)
    model = TCN()
    criterion = nn.MSELoss(reduction="sum")
    optimizer = torch.optim.SGD(model.parameters(), lr=4.0)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        return loss.detach() / len(x)

    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 - epoch / EPOCHS),
        "train_loader": DataLoader(windows(record(2500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(windows(record(800, 2)), batch_size=400),
        "loss_fn": criterion,
        "step": step,
    }


WORKS = lambda score: score > 0.95


@torch.no_grad()
def r2(model, loader):
    out, y = (torch.cat(v) for v in zip(*[(model(x), y) for x, y in loader]))
    return (1 - (out - y).pow(2).mean() / y.var()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        p["scheduler"].step()
        print(f"epoch {epoch}: mse {np.mean(losses):.5f}, r2 {r2(p['model'], p['val_loader']):.4f}")
    print(f"score: {r2(p['model'], p['val_loader']):.4f}")
