"""Adversarial autoencoder of fermentation curves; the optimizer of the regularisation step, which has to fool the judge of latents, was given the decoder's parameters ("bad"); change: the encoder's."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LATENT = 2


class AAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, LATENT))
        self.dec = nn.Sequential(nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 30))
        self.disc = nn.Sequential(nn.Linear(LATENT, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
                                  nn.Linear(64, 1), nn.Sigmoid())


def fermentations(n, rng):
    t = np.linspace(0, 6, 30)
    start = rng.uniform(1, 4, (n, 1))
    rate = np.exp(rng.normal(1.0, 0.4, (n, 1)))
    sugar = 2.0 / (1 + np.exp(rate * (t - start))) - 1 + rng.normal(0, 0.03, (n, 30))
    return torch.tensor(sugar, dtype=torch.float32)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    m = AAE()
    opt_ae = torch.optim.Adam(list(m.enc.parameters()) + list(m.dec.parameters()), lr=1e-3)
    opt_disc = torch.optim.Adam(m.disc.parameters(), lr=1e-3)
    opt_reg = torch.optim.Adam((m.dec if variant == "bad" else m.enc).parameters(), lr=1e-3)
    bce, mse = nn.BCELoss(), nn.MSELoss()

    def step(model, batch, optimizer):
        x = batch[0]
        real, fake = torch.ones(len(x), 1), torch.zeros(len(x), 1)
        # 1. reconstruction
        model.zero_grad()
        recon = mse(model.dec(model.enc(x)), x)
        recon.backward()
        optimizer["ae"].step()
        # 2. judge of latents
        model.zero_grad()
        prior = torch.randn(len(x), LATENT)
        d = bce(model.disc(prior), real) + bce(model.disc(model.enc(x).detach()), fake)
        d.backward()
        optimizer["disc"].step()
        # 3. encoder against the judge
        model.zero_grad()
        g = bce(model.disc(model.enc(x)), real)
        g.backward()
        optimizer["reg"].step()
        return recon

    return {"model": m, "optimizer": {"ae": opt_ae, "disc": opt_disc, "reg": opt_reg}, "step": step,
            "train_loader": DataLoader(TensorDataset(fermentations(2000, rng)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(fermentations(500, rng)), batch_size=64)}


# distance of the encoded validation curves from the prior: quantiles per latent against those of a normal
WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    m = p["model"]
    for epoch in range(50):
        r = [p["step"](m, b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} reconstruction {np.mean(r):.4f}")
    q = torch.linspace(0.05, 0.95, 19)
    with torch.no_grad():
        z = torch.cat([m.enc(b[0]) for b in p["val_loader"]])
    target = torch.distributions.Normal(0.0, 1.0).icdf(q)[:, None]
    score = (torch.quantile(z, q, dim=0) - target).abs().mean().item()
    print(f"score: {score:.4f}")
