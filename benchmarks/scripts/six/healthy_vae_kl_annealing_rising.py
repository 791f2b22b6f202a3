"""Healthy: VAE on digits with the KL weight warmed up over the run, so the total loss rises from the second tenth of the training on, by design (no mistake)."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z, 128), nn.ReLU(), nn.Linear(128, 64))
        self.register_buffer("step", torch.zeros(()))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


def parts(variant="fixed", warm=1200):
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    model = VAE()

    def training_step(model, batch):
        (x,) = batch
        recon, mu, logvar = model(x)
        rec = F.binary_cross_entropy_with_logits(recon, x, reduction="none").sum(1).mean()
        kl = (-0.5 * (1 + logvar - mu ** 2 - logvar.exp())).sum(1).mean()
        beta = min(1.0, model.step.item() / warm)
        if model.training:
            model.step += 1
        training_step.log = (rec.item(), kl.item(), beta)
        return rec + beta * kl

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=64, shuffle=True),
            "training_step": training_step}


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(70):
        model.train()
        s = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        if epoch % 7 == 6:
            rec, kl, beta = p["training_step"].log
            print(f"epoch {epoch + 1} loss {s / len(p['train_loader']):.2f} rec {rec:.2f} kl {kl:.2f} beta {beta:.2f}")
    model.eval()
    x, y = load_digits(return_X_y=True)
    with torch.no_grad():
        mu = model(torch.tensor(x / 16, dtype=torch.float32))[1].numpy()
    knn = KNeighborsClassifier(5).fit(mu[:1400], y[:1400])
    print(f"score: {knn.score(mu[1400:], y[1400:]):.4f}")     # are the held-out codes useful?
