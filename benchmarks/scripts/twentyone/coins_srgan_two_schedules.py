"""Small SRGAN that doubles the resolution of coin images; the mistake (bad): the StepLR schedules of both nets, counted in epochs, are stepped after every batch, and the rates are gone within the first epoch; change: they are stepped once an epoch."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 8


def coins(n, seed, size=24):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    rnd = lambda: torch.rand(n, 1, 1, generator=g)
    cx, cy, r = 8 + 8 * rnd(), 8 + 8 * rnd(), 5 + 5 * rnd()
    d = ((xx - cx) ** 2 + (yy - cy) ** 2).sqrt()
    img = 0.2 + 0.5 * torch.sigmoid((r - d) * 3) + 0.3 * torch.exp(-(d - r + 1.5) ** 2 / 0.8)
    ang = torch.atan2(yy - cy, xx - cx)
    img = img + 0.25 * torch.cos(ang * (3 + 4 * rnd()).round()) * (d < 0.6 * r)
    hi = img.clamp(0, 1)[:, None]
    return TensorDataset(F.avg_pool2d(hi, 2), hi)


class Generator(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.head = nn.Conv2d(1, c, 5, padding=2)
        self.body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.PReLU(), nn.Conv2d(c, c, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(c, 4 * c, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(),
                                  nn.Conv2d(c, 1, 5, padding=2))

    def forward(self, x):
        h = F.relu(self.head(x))
        return self.tail(h + self.body(h))


def discriminator(c=16):
    return nn.Sequential(nn.Conv2d(1, c, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, 2 * c, 3, 2, 1), nn.LeakyReLU(0.2),
                         nn.Flatten(), nn.Linear(2 * c * 36, 1))


def parts(variant):
    torch.manual_seed(0)
    G, D = Generator(), discriminator()
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3)
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-4)
    sched_g = torch.optim.lr_scheduler.StepLR(opt_g, step_size=EPOCHS // 2, gamma=0.1)
    sched_d = torch.optim.lr_scheduler.StepLR(opt_d, step_size=EPOCHS // 2, gamma=0.1)
    train_loader = DataLoader(coins(1200, 1), batch_size=16, shuffle=True)
    bce = F.binary_cross_entropy_with_logits
    done = {"batches": 0}

    def step(model, batch, optimizer):
        low, high = batch
        fake = model(low)
        opt_d.zero_grad()
        real_score, fake_score = D(high), D(fake.detach())
        d_loss = bce(real_score, torch.ones_like(real_score)) + bce(fake_score, torch.zeros_like(fake_score))
        d_loss.backward()
        opt_d.step()

        optimizer.zero_grad()
        score = D(fake)
        g_loss = F.mse_loss(fake, high) + 1e-4 * bce(score, torch.ones_like(score))
        g_loss.backward()
        optimizer.step()

        done["batches"] += 1
        if variant == "bad" or done["batches"] % len(train_loader) == 0:
            sched_g.step()
            sched_d.step()
        return g_loss.detach()

    return {"model": G, "optimizer": opt_g, "step": step, "train_loader": train_loader,
            "val_loader": DataLoader(coins(200, 2), batch_size=50)}


WORKS = lambda score: score > 22.0  # PSNR in dB

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    G = p["model"]
    for epoch in range(EPOCHS):
        G.train()
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](G, batch, p["optimizer"]).item()
        print(f"[{epoch + 1}/{EPOCHS}] generator loss {total / len(p['train_loader']):.5f}")
    G.eval()
    with torch.no_grad():
        mse = torch.cat([(G(x).clamp(0, 1) - y).pow(2).flatten(1).mean(1) for x, y in p["val_loader"]]).mean()
    print(f"score: {(-10 * torch.log10(mse)).item():.4f}")
