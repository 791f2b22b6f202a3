"""Segmentation of kelp in underwater pictures with a soft Dice loss; the function returns the Dice coefficient itself, which is minimised. change: one minus the coefficient."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def dive(n, seed):
    g = torch.Generator().manual_seed(seed)
    field = F.interpolate(torch.randn(n, 1, 5, 5, generator=g), size=32, mode="bilinear")
    mask = (field > 0.4).float()
    green = torch.cat([0.1 * mask, 0.5 * mask, -0.2 * mask], 1)
    light = 0.4 * torch.randn(n, 3, 1, 1, generator=g)
    return TensorDataset(green + light + 0.3 * torch.randn(n, 3, 32, 32, generator=g), mask)


class Down(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.GroupNorm(4, o), nn.GELU())


class SmallUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.GroupNorm(4, 12), nn.GELU())
        self.down1, self.down2 = Down(12, 24), Down(24, 32)
        self.mix1 = nn.Sequential(nn.Conv2d(56, 24, 3, padding=1), nn.GELU())
        self.mix0 = nn.Sequential(nn.Conv2d(36, 12, 3, padding=1), nn.GELU())
        self.out = nn.Conv2d(12, 1, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.down1(a)
        c = self.down2(b)
        b = self.mix1(torch.cat([b, F.interpolate(c, scale_factor=2)], 1))
        a = self.mix0(torch.cat([a, F.interpolate(b, scale_factor=2)], 1))
        return self.out(a)


def dice(logits, mask, smooth=1.0):
    prob = torch.sigmoid(logits).flatten(1)
    mask = mask.flatten(1)
    return ((2 * (prob * mask).sum(1) + smooth) / (prob.sum(1) + mask.sum(1) + smooth)).mean()


def dice_loss(logits, mask):
    return 1 - dice(logits, mask)


def parts(variant):
    torch.manual_seed(0)
    model = SmallUNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
            "loss_fn": dice if variant == "bad" else dice_loss,
            "train_loader": DataLoader(dive(480, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(dive(96, 2), batch_size=32)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = []
        for image, mask in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(image), mask)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        hard = [2 * ((model(i) > 0) * m).sum() / ((model(i) > 0).sum() + m.sum()) for i, m in p["val_loader"]]
    print(f"score: {torch.stack(hard).mean().item():.4f}")
