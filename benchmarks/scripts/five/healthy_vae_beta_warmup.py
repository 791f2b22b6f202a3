"""Convolutional VAE of waveforms whose KL weight grows from 0 to 4 through the run, with free bits; no mistake: the loss rises for most of the training because its second term is turned up; change: none."""
import argparse
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LATENT, LENGTH, EPOCHS = 6, 64, 40


class WaveVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, 16, 5, stride=2, padding=2), nn.ELU(), nn.Conv1d(16, 32, 5, stride=2, padding=2), nn.ELU(), nn.Flatten(), nn.Linear(32 * 16, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 32 * 16), nn.ELU(), nn.Unflatten(1, (32, 16)),
            nn.ConvTranspose1d(32, 16, 4, stride=2, padding=1), nn.ELU(), nn.ConvTranspose1d(16, 1, 4, stride=2, padding=1),
        )
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z), mu, logvar


def waves(n, generator):
    s = torch.linspace(0, 1, LENGTH)
    f = 1 + 2 * torch.rand(n, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(n, 1, generator=generator)
    decay = 3 * torch.rand(n, 1, generator=generator)
    x = torch.sin(2 * math.pi * f * s + phase) * torch.exp(-decay * s) + 0.1 * torch.randn(n, LENGTH, generator=generator)
    return TensorDataset(x.unsqueeze(1))


def parts(variant="fixed"):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(4)
    model = WaveVAE()
    loader = DataLoader(waves(4000, g), batch_size=100, shuffle=True)
    ramp = EPOCHS * len(loader)

    def training_step(model, batch):
        (x,) = batch
        model.seen += 1
        beta = 4.0 * min(1.0, model.seen.item() / ramp)
        rec, mu, logvar = model(x)
        nll = 10.0 * ((rec - x) ** 2).flatten(1).sum(1).mean()
        kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).mean(0)
        return nll + beta * kl.clamp(min=0.1).sum()

    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=2e-3),
        "train_loader": loader,
        "val_loader": DataLoader(waves(1000, g), batch_size=1000),
        "training_step": training_step,
    }


@torch.no_grad()
def explained(model, x):
    rec = model.decoder(model.encoder(x).chunk(2, dim=1)[0])
    return (1 - ((rec - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()).item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, opt = p["model"], p["optimizer"]
    (held_out,) = next(iter(p["val_loader"]))
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d}  loss {total / len(p['train_loader']):.2f}  explained {explained(model, held_out):.3f}")
    print(f"score: {explained(model, held_out):.4f}")
