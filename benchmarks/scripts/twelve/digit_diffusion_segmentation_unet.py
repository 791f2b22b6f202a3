"""Denoising diffusion on 8 x 8 digits with a U-Net taken from a segmentation project, whose head ends in a sigmoid: the noise it has to predict is half negative; change: the U-Net is built with no final activation."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

T = 100
BETA = torch.linspace(1e-3, 0.08, T)
ALPHA_BAR = torch.cumprod(1 - BETA, 0)


class DoubleConv(nn.Module):
    def __init__(self, c_in, c_out, t_dim=32):
        super().__init__()
        self.a = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.b = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.n1, self.n2 = nn.GroupNorm(4, c_out), nn.GroupNorm(4, c_out)
        self.time = nn.Linear(t_dim, c_out)

    def forward(self, x, t):
        x = F.silu(self.n1(self.a(x))) + self.time(t)[:, :, None, None]
        return F.silu(self.n2(self.b(x)))


class UNet(nn.Module):
    def __init__(self, channels=1, out_channels=1, width=16, final_activation="sigmoid"):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.down1, self.down2 = DoubleConv(channels, width), DoubleConv(width, 2 * width)
        self.middle = DoubleConv(2 * width, 2 * width)
        self.up2, self.up1 = DoubleConv(4 * width, width), DoubleConv(2 * width, width)
        self.head = nn.Conv2d(width, out_channels, 1)
        self.final = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=1), None: nn.Identity()}[final_activation]

    def forward(self, x, t):
        freq = torch.exp(-torch.arange(8) * 0.8)
        angle = t.float()[:, None] * freq
        e = self.embed(torch.cat([angle.sin(), angle.cos()], 1))
        d1 = self.down1(x, e)
        d2 = self.down2(F.max_pool2d(d1, 2), e)
        m = self.middle(F.max_pool2d(d2, 2), e)
        u2 = self.up2(torch.cat([F.interpolate(m, scale_factor=2.0), d2], 1), e)
        u1 = self.up1(torch.cat([F.interpolate(u2, scale_factor=2.0), d1], 1), e)
        return self.final(self.head(u1))


def noised(x0, generator=None):
    t = torch.randint(0, T, (len(x0),), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    a = ALPHA_BAR[t].view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps, t, eps


def training_step(model, batch):
    x_t, t, eps = noised(batch[0])
    return F.mse_loss(model(x_t, t), eps)


def parts(variant):
    torch.manual_seed(0)
    model = UNet() if variant == "bad" else UNet(final_activation=None)
    x = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(3))]
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(x[:1500]), batch_size=64, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(x[1500:]), batch_size=297),
        "training_step": training_step,
    }


@torch.no_grad()
def noise_explained(model, loader):
    model.eval()
    g = torch.Generator().manual_seed(5)
    left = []
    for (x,) in loader:
        for _ in range(4):
            x_t, t, eps = noised(x, g)
            left.append(F.mse_loss(model(x_t, t), eps).item())
    return 1 - sum(left) / len(left)


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(9):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, noise explained {noise_explained(model, p['val_loader']):.3f}")
    print(f"score: {noise_explained(model, p['val_loader']):.4f}")
