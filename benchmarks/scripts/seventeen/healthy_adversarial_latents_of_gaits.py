"""Sound: adversarial autoencoder of gait cycles (two sines of random size and phase), three optimizers, the judge compares latents with a uniform square; nothing to change."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def gaits(n):
    t = torch.linspace(0, 2 * math.pi, 24)
    swing = 0.6 + 0.8 * torch.rand(n, 1)
    shift = 1.5 * torch.rand(n, 1)
    return swing * torch.sin(t + shift) + 0.3 * torch.sin(2 * t) + 0.03 * torch.randn(n, 24)


def dense(i, o, h=64):
    return nn.Sequential(nn.Linear(i, h), nn.LeakyReLU(0.1), nn.Linear(h, h), nn.LeakyReLU(0.1), nn.Linear(h, o))


class GaitAAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.judge = dense(24, 2), dense(2, 24), dense(2, 1)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    model = GaitAAE()
    rec = torch.optim.Adam([*model.encoder.parameters(), *model.decoder.parameters()], lr=1e-3)
    dis = torch.optim.Adam(model.judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
    enc = torch.optim.Adam(model.encoder.parameters(), lr=5e-4, betas=(0.5, 0.999))

    def step(model, batch, optimizer):
        rec, dis, enc = optimizer
        x = batch[0]
        rec.zero_grad()
        loss = F.mse_loss(model(x), x)
        loss.backward()
        rec.step()

        dis.zero_grad()
        square = 2 * torch.rand(len(x), 2) - 1
        d = F.softplus(-model.judge(square)).mean() + F.softplus(model.judge(model.encoder(x).detach())).mean()
        d.backward()
        dis.step()

        enc.zero_grad()
        F.softplus(-model.judge(model.encoder(x))).mean().backward()
        enc.step()
        return loss

    return {"model": model, "optimizer": (rec, dis, enc), "step": step,
            "train_loader": DataLoader(TensorDataset(gaits(3000)), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(gaits(600)), batch_size=60)}


# distance of the latents' quantiles from those of the square, plus the root mean square error of the reconstruction
WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(50):
        r = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} reconstruction {sum(r) / len(r):.5f}")
    x = torch.cat([b for b, in p["val_loader"]])
    q = torch.linspace(0.05, 0.95, 19)
    with torch.no_grad():
        z = model.encoder(x)
        error = F.mse_loss(model.decoder(z), x).sqrt().item()
    score = (torch.quantile(z, q, dim=0) - (2 * q - 1)[:, None]).abs().mean().item() + error
    print(f"score: {score:.4f}")
