"""Convolutional autoencoder of postmarks with a Gaussian likelihood of fixed sigma 0.02 summed over pixels: the loss begins in the tens of thousands and ends below zero; nothing is wrong (Adam does not mind). change: none."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SIGMA = 0.02


def postmarks(n, seed):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(16.), torch.arange(16.), indexing="ij")
    c = 6 + 4 * torch.rand(2, n, 1, 1, generator=g)
    r = 3 + 2 * torch.rand(n, 1, 1, generator=g)
    d = ((yy - c[0]) ** 2 + (xx - c[1]) ** 2).sqrt()
    return (torch.exp(-((d - r) / 1.5) ** 2).unsqueeze(1) + SIGMA * torch.randn(n, 1, 16, 16, generator=g),)


class AutoEncoder(nn.Module):
    def __init__(self, code=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, code))
        self.dec = nn.Sequential(nn.Linear(code, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
                                 nn.ConvTranspose2d(16, 1, 4, 2, 1))

    def forward(self, x):
        return self.dec(self.enc(x))


def training_step(model, batch):
    x, = batch
    rec = model(x)
    nll = (rec - x) ** 2 / (2 * SIGMA ** 2) + math.log(SIGMA) + 0.5 * math.log(2 * math.pi)
    return nll.sum((1, 2, 3)).mean()


def parts(variant):
    torch.manual_seed(0)
    model = AutoEncoder()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*postmarks(1200, 1)), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(*postmarks(300, 2)), batch_size=300))


# share of the pixels' variance that the reconstruction explains
WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        total = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: nll {total / len(p['train_loader']):.1f}")
    with torch.no_grad():
        x, = next(iter(p["val_loader"]))
        score = 1 - (model(x) - x).pow(2).mean() / x.var()
    print(f"score: {score:.4f}")
