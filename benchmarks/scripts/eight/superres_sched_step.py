"""ESPCN-style x2 super-resolution; the exponential decay meant per epoch is stepped after every batch, so the learning rate is gone within the first epoch; change: `fixed` decays at the rate that makes gamma 0.9 a whole epoch's decay."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader

WORKS = lambda score: score > 22      # PSNR in dB on unseen pictures (flat grey: about 13)
GAMMA = 0.9
EPOCHS = 30


def textures(n, seed):
    """sharp-edged pictures: overlapping bars and checker patches"""
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(32.), torch.arange(32.), indexing="ij")
    out = torch.zeros(n, 1, 32, 32)
    for i in range(n):
        img = torch.full((32, 32), 0.5)
        for _ in range(5):
            a, b, c, v = torch.rand(4, generator=g)
            t = a * 6.283
            d = (xx - 32 * b) * torch.cos(t) + (yy - 32 * c) * torch.sin(t)
            img = torch.where(d.abs() < 3 + 3 * v, v, img)
        out[i, 0] = img
    return out


class ESPCN(nn.Module):
    def __init__(self, r=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(),
                                  nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(32, r * r, 3, padding=1), nn.PixelShuffle(r))

    def forward(self, x):
        return self.body(x)


def psnr(out, target):
    return -10 * torch.log10(F.mse_loss(out.clamp(0, 1), target)).item()


def parts(variant):
    torch.manual_seed(11)
    hr, hr_val = textures(320, 0), textures(64, 1)
    lr, lr_val = F.avg_pool2d(hr, 2), F.avg_pool2d(hr_val, 2)
    model = ESPCN()
    loader = DataLoader(TensorDataset(lr, hr), batch_size=8, shuffle=True)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    gamma = GAMMA if variant == "bad" else GAMMA ** (1 / len(loader))
    return {"model": model, "optimizer": opt, "train_loader": loader,
            "val_loader": DataLoader(TensorDataset(lr_val, hr_val), batch_size=32),
            "loss_fn": nn.MSELoss(), "metric": psnr,
            "scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, gamma)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(EPOCHS):
        total = 0
        for lr_img, hr_img in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(lr_img), hr_img)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print("epoch %d  train mse %.5f" % (epoch + 1, total / len(p["train_loader"])))
    with torch.no_grad():
        lo, hi = p["val_loader"].dataset.tensors
        ours = psnr(model(lo), hi)
        bicubic = psnr(F.interpolate(lo, scale_factor=2, mode="bicubic"), hi)
    print(f"PSNR {ours:.2f} dB, bicubic {bicubic:.2f} dB")
    print(f"score: {ours:.4f}")
