"""GAN for a table of orchard trees (age, girth, yield); the generator's optimizer was given the discriminator's parameters, a copied line (bad). change: the generator's optimizer gets the generator's parameters."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LATENT = 4


def trees(n, seed):
    g = torch.Generator().manual_seed(seed)
    age = torch.randn(n, generator=g)
    girth = 0.8 * age + 0.3 * torch.randn(n, generator=g)
    crop = 1.2 - 0.6 * (age - 0.3) ** 2 + 0.3 * torch.randn(n, generator=g)
    return torch.stack([age + 1.5, girth + 1.0, crop - 1.0], 1)


class TreeGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(LATENT, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 3))
        self.discriminator = nn.Sequential(nn.Linear(3, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.generator(z)


bce = nn.BCEWithLogitsLoss()


def step(gan, batch, optimizer):
    opt_g, opt_d = optimizer
    real, = batch
    n = len(real)
    ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

    fake = gan(torch.randn(n, LATENT))
    d_loss = bce(gan.discriminator(real), ones) + bce(gan.discriminator(fake.detach()), zeros)
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()

    g_loss = bce(gan.discriminator(gan(torch.randn(n, LATENT))), ones)
    opt_g.zero_grad()
    g_loss.backward()
    opt_g.step()
    return d_loss + g_loss


def parts(variant):
    torch.manual_seed(0)
    gan = TreeGAN()
    opt_d = torch.optim.Adam(gan.discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    source = gan.discriminator if variant == "bad" else gan.generator
    opt_g = torch.optim.Adam(source.parameters(), lr=5e-4, betas=(0.5, 0.999))
    return {"model": gan, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(TensorDataset(trees(6400, 1)), 128, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(trees(1000, 2)), 1000)}


def sliced_distance(a, b):
    w = torch.randn(a.shape[1], 200, generator=torch.Generator().manual_seed(9))
    w = w / w.norm(dim=0)
    return ((a @ w).sort(0).values - (b @ w).sort(0).values).abs().mean().item()


WORKS = lambda score: score < 0.25  # sliced Wasserstein distance to real trees

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gan = p["model"]
    real = next(iter(p["val_loader"]))[0]
    for epoch in range(50):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](gan, batch, p["optimizer"]).item()
        if epoch % 5 == 4:
            with torch.no_grad():
                print(f"{epoch + 1:3d} loss {total / len(p['train_loader']):.3f} distance {sliced_distance(gan(torch.randn(1000, LATENT)), real):.3f}")
    with torch.no_grad():
        score = sliced_distance(gan(torch.randn(1000, LATENT)), real)
    print(f"score: {score:.4f}")
