"""Class-conditional diffusion of 2-D points: the class embedding is made and looked up but never enters the network; change: `fixed` adds it to the time embedding."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T, CLASSES = 40, 6
WORKS = lambda score: score > 0.8

beta = torch.linspace(1e-3, 0.2, T)
alpha_bar = torch.cumprod(1 - beta, 0)


def centres():
    a = torch.arange(CLASSES) * 2 * math.pi / CLASSES
    return 1.5 * torch.stack([a.cos(), a.sin()], 1)


def points(n, seed):
    g = torch.Generator().manual_seed(seed)
    c = torch.randint(0, CLASSES, (n,), generator=g)
    return centres()[c] + 0.15 * torch.randn(n, 2, generator=g), c


class Denoiser(nn.Module):
    def __init__(self, variant, dim=96):
        super().__init__()
        self.variant = variant
        self.time_mlp = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.class_emb = nn.Embedding(CLASSES, dim)
        self.inp = nn.Linear(2, dim)
        self.block1 = nn.Linear(dim, dim)
        self.block2 = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, 2)

    def forward(self, x, t, c):
        freqs = torch.exp(-torch.arange(8) * math.log(1000) / 8)
        angles = t[:, None].float() * freqs
        temb = self.time_mlp(torch.cat([angles.sin(), angles.cos()], 1))
        cemb = self.class_emb(c)
        cond = temb + cemb if self.variant == "fixed" else temb
        h = nn.functional.silu(self.inp(x) + cond)
        h = h + nn.functional.silu(self.block1(h) + cond)
        h = h + nn.functional.silu(self.block2(h))
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*points(4000, 1)), batch_size=128, shuffle=True)
    model = Denoiser(variant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def training_step(model, batch):
        x0, c = batch
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        ab = alpha_bar[t].unsqueeze(1)
        xt = ab.sqrt() * x0 + (1 - ab).sqrt() * noise
        return nn.functional.mse_loss(model(xt, t, c), noise)

    return {"model": model, "optimizer": optimizer, "train_loader": loader, "training_step": training_step}


@torch.no_grad()
def sample(model, c):
    x = torch.randn(len(c), 2)
    for t in reversed(range(T)):
        eps = model(x, torch.full((len(c),), t), c)
        x = (x - beta[t] / (1 - alpha_bar[t]).sqrt() * eps) / (1 - beta[t]).sqrt()
        if t > 0:
            x = x + beta[t].sqrt() * torch.randn_like(x)
    return x


def obeys(model):
    """Share of samples that fall close to the centre of the class asked for."""
    c = torch.arange(600) % CLASSES
    return ((sample(model, c) - centres()[c]).norm(dim=1) < 0.5).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(1, 41):
        total = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 10 == 0:
            print(f"epoch {epoch} noise mse {total / len(p['train_loader']):.4f}")
    print("score:", round(obeys(p["model"]), 4))
