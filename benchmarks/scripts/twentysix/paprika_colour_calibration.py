"""Linear calibration of ground paprika: near-infrared spectrum plus an offset per mill give the colour value (ASTA). In each batch the loss is added to the sum of the epoch so far and the backward pass goes through the whole sum (retain_graph=True), so the gradients of all batches gone by come again in every step; the right change: loss.backward() on the loss of the batch alone, and the sum for the log only (loss.item())."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MILLS, BANDS = 7, 60


def laboratory(n, rng):
    lab = np.random.default_rng(1)
    wave = np.linspace(0, 1, BANDS)
    pure = np.stack([np.exp(-0.5 * ((wave - c) / w) ** 2) for c, w in [(0.2, 0.08), (0.45, 0.12), (0.6, 0.06), (0.85, 0.1)]])
    colour = rng.normal(120, 30, n)
    other = np.column_stack([rng.normal(10, 1.5, n), rng.normal(12, 2, n), rng.normal(6, 1, n)])
    mill = rng.integers(0, MILLS, n)
    conc = np.column_stack([colour / 60, other / 5])
    spectra = conc @ pure * rng.normal(1, 0.01, (n, 1)) + rng.normal(0, 0.03, (n, 1)) + rng.normal(0, 0.04, (n, BANDS))
    asta = colour + lab.normal(0, 8, MILLS)[mill] + rng.normal(0, 4, n)
    return spectra.astype(np.float32), mill, asta.astype(np.float32)


class Calibration(nn.Module):
    def __init__(self):
        super().__init__()
        self.spectrum = nn.Linear(BANDS, 1)
        self.mill = nn.Embedding(MILLS, 1)
        nn.init.zeros_(self.mill.weight)

    def forward(self, spectra, mill):
        return (self.spectrum(spectra) + self.mill(mill)).squeeze(1)


class Epochs:
    """Training step with the running loss of the epoch for the log."""

    def __init__(self, batches, whole):
        self.batches, self.whole = batches, whole
        self.seen, self.running = 0, 0.0

    def __call__(self, model, batch, optimizer):
        if self.seen % self.batches == 0:
            self.running = 0.0
        self.seen += 1
        spectra, mill, asta = batch
        loss = nn.functional.mse_loss(model(spectra, mill), asta)
        optimizer.zero_grad()
        if self.whole:
            self.running = self.running + loss
            self.running.backward(retain_graph=True)
        else:
            self.running = self.running + loss.item()
            loss.backward()
        optimizer.step()
        return loss.detach()


def parts(variant):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    (x, m, y), (xv, mv, yv) = laboratory(2000, rng), laboratory(600, rng)
    mu, sd, ym, ys = x.mean(0), x.std(0), y.mean(), y.std()
    pack = lambda x, m, y: TensorDataset(torch.tensor((x - mu) / sd), torch.tensor(m), torch.tensor((y - ym) / ys))
    model = Calibration()
    loader = DataLoader(pack(x, m, y), batch_size=50, shuffle=True)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.02),
            "step": Epochs(len(loader), whole=variant == "bad"), "train_loader": loader,
            "val_loader": DataLoader(pack(xv, mv, yv), batch_size=600)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            spectra, mill, asta = next(iter(p["val_loader"]))
            error = (p["model"](spectra, mill) - asta).pow(2).mean()
            score = (1 - error / asta.var()).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: sum of losses {float(p['step'].running):.2f}, val R2 {score:.3f}")
    print("score:", score)
