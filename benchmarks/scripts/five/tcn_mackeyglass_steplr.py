"""Causal convolutions that forecast the Mackey-Glass series; StepLR's step_size is meant in epochs but the schedule steps once a batch, so the rate is gone within the first epoch; change: step_size in batches."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

WINDOW, AHEAD = 64, 24


def mackey_glass(n, tau=17, seed=0):
    r = np.random.RandomState(seed)
    hist = list(1.2 + 0.1 * r.randn(10 * tau))
    x = hist[-1]
    out = []
    for i in range(10 * (n + 100)):
        past = hist[-10 * tau]
        x = x + 0.1 * (0.2 * past / (1 + past ** 10) - 0.1 * x)
        hist.append(x)
        if i % 10 == 0:
            out.append(x)
    s = np.array(out[100:100 + n], dtype=np.float32)
    return (s - s.mean()) / s.std()


class Windows(Dataset):
    def __init__(self, series):
        self.series = torch.tensor(series)

    def __len__(self):
        return len(self.series) - WINDOW - AHEAD

    def __getitem__(self, i):
        return self.series[i : i + WINDOW].unsqueeze(0), self.series[i + WINDOW + AHEAD - 1].unsqueeze(0)


class CausalConv(nn.Module):
    def __init__(self, c_in, c_out, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(c_in, c_out, 3, dilation=dilation)

    def forward(self, x):
        return F.relu(self.conv(F.pad(x, (self.pad, 0))))


class TCN(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        self.layers = nn.ModuleList([CausalConv(1 if i == 0 else ch, ch, 2 ** i) for i in range(5)])
        self.out = nn.Linear(ch, 1)

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x) + (x if i else 0)
        return self.out(x[:, :, -1])


def parts(variant="fixed"):
    torch.manual_seed(0)
    s = mackey_glass(3200)
    train_loader = DataLoader(Windows(s[:2400]), batch_size=64, shuffle=True)
    val_loader = DataLoader(Windows(s[2400:]), batch_size=256)
    model = TCN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    step_size = 8 if variant == "bad" else 8 * len(train_loader)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=step_size, gamma=0.5),
        "train_loader": train_loader,
        "val_loader": val_loader,
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score < 0.12

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=30)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, optimizer, scheduler, criterion = p["model"], p["optimizer"], p["scheduler"], p["loss_fn"]
    for epoch in range(args.epochs):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        if epoch % 3 == 0:
            print(f"epoch {epoch}: mse {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred, true = zip(*[(model(x), y) for x, y in p["val_loader"]])
    pred, true = torch.cat(pred), torch.cat(true)
    print(f"score: {(((pred - true) ** 2).mean() / true.var()).sqrt().item():.4f}")
