"""Conditional GAN on pastries (weight, diameter, sugar; four kinds); the discriminator's forward does not use the label, so nothing ties the generator's condition to the kind ("bad"); change: concatenate the label's embedding to the input of the discriminator."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

KINDS = ["croissant", "roll", "tart", "eclair"]
MEANS = torch.tensor([[1.2, 1.0, -0.8], [-1.1, -0.9, -1.0], [0.9, -1.2, 1.0], [-0.8, 1.1, 1.1]])


class Baker(nn.Module):
    def __init__(self, z_dim=6):
        super().__init__()
        self.z_dim = z_dim
        self.emb = nn.Embedding(4, 8)
        self.net = nn.Sequential(nn.Linear(z_dim + 8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, label):
        z = torch.randn(len(label), self.z_dim)
        return self.net(torch.cat([z, self.emb(label)], dim=1))


class Taster(nn.Module):
    def __init__(self, conditional):
        super().__init__()
        self.conditional = conditional
        self.emb = nn.Embedding(4, 8)
        self.net = nn.Sequential(nn.Linear(3 + 8 if conditional else 3, 64), nn.LeakyReLU(0.2),
                                 nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x, label):
        if self.conditional:
            x = torch.cat([x, self.emb(label)], dim=1)
        return self.net(x)


def table(n):
    label = torch.randint(4, (n,))
    return MEANS[label] + 0.25 * torch.randn(n, 3), label


def parts(variant):
    torch.manual_seed(0)
    baker, taster = Baker(), Taster(conditional=variant != "bad")
    model = {"generator": baker, "discriminator": taster}
    optimizer = {"generator": torch.optim.Adam(baker.parameters(), lr=5e-4, betas=(0.5, 0.999)),
                 "discriminator": torch.optim.Adam(taster.parameters(), lr=1e-3, betas=(0.5, 0.999))}
    criterion = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        G, D = model["generator"], model["discriminator"]
        x, label = batch
        fake = G(label)

        optimizer["discriminator"].zero_grad()
        out_real, out_fake = D(x, label), D(fake.detach(), label)
        d_loss = (criterion(out_real, torch.ones_like(out_real)) + criterion(out_fake, torch.zeros_like(out_fake))) / 2
        d_loss.backward()
        optimizer["discriminator"].step()

        optimizer["generator"].zero_grad()
        out = D(fake, label)
        g_loss = criterion(out, torch.ones_like(out))
        g_loss.backward()
        optimizer["generator"].step()
        return g_loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(*table(3000)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*table(400)), batch_size=64)}


# share of generated pastries whose nearest kind is the one that was ordered
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        history = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch + 1}/40 g_loss {np.mean(history):.3f}")
    label = torch.arange(4).repeat(300)
    with torch.no_grad():
        x = p["model"]["generator"](label)
    score = (torch.cdist(x, MEANS).argmin(1) == label).float().mean().item()
    print(f"score: {score:.4f}")
