"""No mistake: hinge GAN on eight blobs on a circle, a table of two columns, two critic steps for one of the generator, betas (0, 0.9), spectral norm; the losses neither fall nor mean much."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

NOISE = 8
CENTRES = torch.stack([torch.cos(torch.arange(8) * torch.pi / 4), torch.sin(torch.arange(8) * torch.pi / 4)], 1) * 2


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    return CENTRES[torch.randint(0, 8, (n,), generator=g)] + 0.12 * torch.randn(n, 2, generator=g)


def generator():
    return nn.Sequential(nn.Linear(NOISE, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))


def critic():
    return nn.Sequential(spectral_norm(nn.Linear(2, 96)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(96, 96)),
                         nn.LeakyReLU(0.2), nn.Linear(96, 1))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = nn.ModuleDict({"generator": generator(), "critic": critic()})
    opt_d = torch.optim.Adam(model["critic"].parameters(), lr=2e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(model["generator"].parameters(), lr=5e-4, betas=(0.0, 0.9))

    def step(model, batch, optimizer):
        real = batch[0]
        G, D = model["generator"], model["critic"]
        for _ in range(2):
            fake = G(torch.randn(len(real), NOISE)).detach()
            d_loss = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake)).mean()
            opt_d.zero_grad()
            d_loss.backward()
            opt_d.step()
        g_loss = -D(G(torch.randn(len(real), NOISE))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        step.critic_loss = d_loss.item()
        return g_loss

    return {"model": model, "optimizer": [opt_d, opt_g], "step": step,
            "train_loader": DataLoader(TensorDataset(blobs(6400, 1)), batch_size=128, shuffle=True, drop_last=True)}


@torch.no_grad()
def quality(model, n=2000):
    """Share of samples near a blob, times the share of blobs that get at least 3 % of the samples."""
    g = torch.Generator().manual_seed(9)
    x = model["generator"](torch.randn(n, NOISE, generator=g))
    d, which = torch.cdist(x, CENTRES).min(1)
    near = d < 0.5
    counts = torch.bincount(which[near], minlength=8)
    return near.float().mean().item() * (counts >= 0.03 * n).float().mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    for epoch in range(40):
        for batch in p["train_loader"]:
            g_loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2d}  D {p['step'].critic_loss:.3f}  G {g_loss.item():.3f}  quality {quality(p['model']):.3f}")
    print(f"score: {quality(p['model']):.4f}")
