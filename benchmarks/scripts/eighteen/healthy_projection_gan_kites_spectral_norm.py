"""Sound: a conditional GAN for small pictures of kites in three sizes, hinge loss, spectral norm and a projection of the class in the discriminator. change: nothing."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

SIZES, Z = 3, 12


def kites(n, seed):
    """8 by 8 pictures in -1 ... 1: a diamond of one of three sizes, a little off the middle."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, SIZES, (n,), generator=g)
    c = 3.5 + 0.8 * torch.rand(n, 2, generator=g) - 0.4
    ax = torch.arange(8.0)
    d = (ax[None, :, None] - c[:, :1, None]).abs() + (ax[None, None, :] - c[:, 1:, None]).abs()
    x = torch.sigmoid(4 * (1.2 + 1.2 * y[:, None, None] - d))
    return TensorDataset((2 * x - 1).unsqueeze(1), y)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(SIZES, 12)
        self.fc = nn.Linear(Z + 12, 32 * 16)
        self.conv = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 1, 3, 1, 1), nn.Tanh())

    def forward(self, z, y):
        return self.conv(self.fc(torch.cat([z, self.label(y)], 1)).view(-1, 32, 4, 4))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(spectral_norm(nn.Conv2d(1, 16, 3, 1, 1)), nn.LeakyReLU(0.1), spectral_norm(nn.Conv2d(16, 32, 4, 2, 1)), nn.LeakyReLU(0.1), nn.Flatten(), spectral_norm(nn.Linear(512, 64)), nn.LeakyReLU(0.1))
        self.score = spectral_norm(nn.Linear(64, 1))
        self.label = spectral_norm(nn.Embedding(SIZES, 64))

    def forward(self, x, y):
        h = self.body(x)
        return self.score(h).squeeze(1) + (self.label(y) * h).sum(1)


def step(model, batch, optimizer):
    G, D = model[0], model[1]
    opt_g, opt_d = optimizer
    x, y = batch
    with torch.no_grad():
        fake = G(torch.randn(len(x), Z), y)
    d_loss = F.relu(1 - D(x, y)).mean() + F.relu(1 + D(fake, y)).mean()
    opt_d.zero_grad(set_to_none=True)
    d_loss.backward()
    opt_d.step()
    wanted = torch.randint(0, SIZES, (len(x),))
    g_loss = -D(G(torch.randn(len(x), Z), wanted), wanted).mean()
    opt_g.zero_grad(set_to_none=True)
    g_loss.backward()
    opt_g.step()
    return d_loss + g_loss


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleList([Generator(), Discriminator()])
    opt_g = torch.optim.Adam(model[0].parameters(), lr=5e-4, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(model[1].parameters(), lr=1e-3, betas=(0.0, 0.9))
    return {"model": model, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(kites(3200, 1), 64, shuffle=True), "val_loader": DataLoader(kites(900, 2), 900)}


@torch.no_grad()
def distance(G, loader):
    """Mean distance from a drawn kite to the nearest real one of its class."""
    x, y = next(iter(loader))
    total = 0.0
    for k in range(SIZES):
        drawn = G(torch.randn(100, Z), torch.full((100,), k)).flatten(1)
        total += torch.cdist(drawn, x[y == k].flatten(1)).min(1).values.mean().item() / SIZES
    return total


WORKS = lambda score: score < 1.5  # a grey picture is 6 to 8 away

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: {sum(losses) / len(losses):.3f}, distance {distance(p['model'][0], p['val_loader']):.3f}")
    print(f"score: {distance(p['model'][0], p['val_loader']):.4f}")
