"""Sound: a GAN for measurements of honey (water, sugar, colour) with the real labels at 0.9, dropout in the discriminator and batch norm in the generator; its loss stays where it is all along. change: nothing."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def honey(n, seed):
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 2, (n,), generator=g).float()
    water = 0.7 * torch.randn(n, generator=g) - 0.5 * kind
    sugar = -0.7 * water + 0.4 * torch.randn(n, generator=g)
    colour = 1.6 * kind - 0.8 + 0.35 * torch.randn(n, generator=g)
    return torch.stack([water, sugar, colour], 1)


class Generator(nn.Module):
    def __init__(self, nz=6):
        super().__init__()
        self.nz = nz
        self.main = nn.Sequential(
            nn.Linear(nz, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Linear(64, 3))

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(3, 96), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Linear(96, 1), nn.Sigmoid())

    def forward(self, x):
        return self.main(x).view(-1)


criterion = nn.BCELoss()


def step(model, batch, optimizer):
    netG, netD = model["netG"], model["netD"]
    optimizerG, optimizerD = optimizer
    real = batch[0]
    b = real.size(0)
    netD.zero_grad()
    errD_real = criterion(netD(real), torch.full((b,), 0.9))
    errD_real.backward()
    fake = netG(torch.randn(b, netG.nz))
    errD_fake = criterion(netD(fake.detach()), torch.zeros(b))
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    errG = criterion(netD(fake), torch.ones(b))
    errG.backward()
    optimizerG.step()
    return errD_real + errD_fake + errG


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"netG": Generator(), "netD": Discriminator()})
    optimizerG = torch.optim.Adam(model["netG"].parameters(), lr=5e-4, betas=(0.5, 0.999))
    optimizerD = torch.optim.Adam(model["netD"].parameters(), lr=5e-4, betas=(0.5, 0.999))
    return {"model": model, "optimizer": (optimizerG, optimizerD), "step": step,
            "train_loader": DataLoader(TensorDataset(honey(6400, 1)), 128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(honey(1000, 2)), 1000)}


@torch.no_grad()
def distance(netG, loader):
    real = next(iter(loader))[0]
    netG.eval()
    fake = netG(torch.randn(len(real), netG.nz))
    netG.train()
    w = nn.functional.normalize(torch.randn(3, 100, generator=torch.Generator().manual_seed(1)), dim=0)
    return ((real @ w).sort(0).values - (fake @ w).sort(0).values).abs().mean().item()


WORKS = lambda score: score < 0.3  # sliced distance to real honey

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](p["model"], batch, p["optimizer"]).item()
        if epoch % 4 == 3:
            print(f"[{epoch + 1}/40] loss {total / len(p['train_loader']):.4f} distance {distance(p['model']['netG'], p['val_loader']):.4f}")
    print(f"score: {distance(p['model']['netG'], p['val_loader']):.4f}")
