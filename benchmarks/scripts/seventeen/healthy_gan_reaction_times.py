"""Sound: vanilla non-saturating GAN of reaction times (one column, two humps), BCE with smoothed real labels; nothing to change."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Generator(nn.Module):
    def __init__(self, z=4):
        super().__init__()
        self.z = z
        self.fc = nn.Sequential(nn.Linear(z, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def forward(self, n):
        return self.fc(torch.randn(n, self.z))


def reaction(n, seed):
    rng = np.random.default_rng(seed)
    fast = rng.random(n) < 0.6
    t = np.where(fast, rng.normal(-0.8, 0.25, n), rng.normal(1.0, 0.35, n))
    return torch.tensor(t[:, None], dtype=torch.float32)


def parts(variant):
    torch.manual_seed(0)
    G = Generator()
    D = nn.Sequential(nn.Linear(1, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    model = nn.ModuleDict({"G": G, "D": D})
    optimizer = {"G": torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.0, 0.999)),
                 "D": torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.0, 0.999))}
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        x = batch[0]
        real, fake = torch.full((len(x), 1), 0.9), torch.zeros(len(x), 1)
        x_fake = model["G"](len(x))

        optimizer["D"].zero_grad()
        loss_real = bce(model["D"](x), real)
        loss_real.backward()
        loss_fake = bce(model["D"](x_fake.detach()), fake)
        loss_fake.backward()
        optimizer["D"].step()

        optimizer["G"].zero_grad()
        loss_G = bce(model["D"](x_fake), torch.ones(len(x), 1))
        loss_G.backward()
        optimizer["G"].step()
        return loss_G

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(reaction(4000, 1)), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(reaction(1000, 2)), batch_size=100)}


# mean distance of the quantiles (Wasserstein-1) of real and generated times
WORKS = lambda score: score < 0.25

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(100):
        g = np.mean([p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]])
        print(f"epoch {epoch} G {g:.3f}")
    q = torch.linspace(0.02, 0.98, 49)
    real = torch.cat([b for b, in p["val_loader"]])[:, 0]
    with torch.no_grad():
        made = p["model"]["G"](3000)[:, 0]
    score = (torch.quantile(real, q) - torch.quantile(made, q)).abs().mean().item()
    print(f"score: {score:.4f}")
