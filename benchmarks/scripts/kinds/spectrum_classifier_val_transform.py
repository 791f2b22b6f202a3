"""Machine faults from power spectra: log and standardisation are applied to the training spectra only, the validation gets them raw; change: `fixed` transforms both."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.85
BINS = 64


def recordings(n, seed):
    """Five states of a machine: each has its resonances; power falls with frequency, loudness differs."""
    shape = torch.rand(5, BINS, generator=torch.Generator().manual_seed(99)) * 1.5
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 5, (n,), generator=g)
    slope = torch.linspace(7, 1, BINS)
    log_power = slope + shape[y] + 1.0 * torch.randn(n, BINS, generator=g) + 0.5 * torch.randn(n, 1, generator=g)
    return log_power.exp(), y


class Spectra(Dataset):
    mean = std = None

    def __init__(self, n, seed, train, variant):
        self.x, self.y = recordings(n, seed)
        self.augment = train
        self.transform = train or variant == "fixed"
        if train:
            z = self.x.log1p()
            Spectra.mean, Spectra.std = z.mean(0), z.std(0)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.augment:
            x = x * (0.8 + 0.4 * torch.rand(1))
        if self.transform:
            x = (x.log1p() - Spectra.mean) / Spectra.std
        return x, self.y[i]


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(Spectra(2000, 1, True, variant), batch_size=50, shuffle=True)
    val = DataLoader(Spectra(500, 2, False, variant), batch_size=100)
    model = nn.Sequential(nn.Linear(BINS, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 5))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    return {"model": model, "optimizer": opt, "train_loader": train, "val_loader": val, "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean()}


def run(variant, epochs=40):
    p = parts(variant)
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(epochs):
        model.train()
        ok = n = 0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = crit(out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ok, n = ok + (out.argmax(1) == y).sum().item(), n + len(y)
        model.eval()
        with torch.no_grad():
            val = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 500
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train acc {ok / n:.3f} val acc {val:.3f}")
    print("score:", val)


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "fixed")
