"""No mistake: lesions cover about 1% of the picture and the background bias starts at -4; focal plus batch Dice; change: nothing."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.7      # Dice over the whole test set


def scans(n, seed, size=48):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    imgs, masks = torch.randn(n, 1, size, size, generator=g) * 0.4, torch.zeros(n, 1, size, size)
    imgs += F.interpolate(torch.randn(n, 1, 6, 6, generator=g), size=(size, size), mode="bicubic") * 0.5
    for i in range(n):
        for _ in range(int(torch.randint(0, 3, (1,), generator=g))):
            cy, cx = torch.randint(4, size - 4, (2,), generator=g)
            r = 1.6 + 1.6 * torch.rand(1, generator=g)
            blob = ((yy - cy) ** 2 + (xx - cx) ** 2) < r * r
            masks[i, 0][blob] = 1
            imgs[i, 0][blob] += 1.8
    return TensorDataset(imgs, masks)


class DilatedNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1 if k == 0 else c, c, 3, padding=d, dilation=d) for k, d in enumerate((1, 2, 4, 1))])
        self.norms = nn.ModuleList([nn.InstanceNorm2d(c, affine=True) for _ in range(4)])
        self.out = nn.Conv2d(c, 1, 1)
        nn.init.constant_(self.out.bias, -4.0)

    def forward(self, x):
        for conv, norm in zip(self.layers, self.norms):
            x = F.leaky_relu(norm(conv(x)), 0.01)
        return self.out(x)


def focal_dice(logits, target):
    p = logits.sigmoid()
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    pt = torch.where(target == 1, p, 1 - p)
    focal = ((1 - pt) ** 2 * bce).mean()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 10 * focal + dice


def dice_score(logits, target):
    pred = (logits > 0).float()
    return (2 * (pred * target).sum() / (pred.sum() + target.sum()).clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(15)
    model = DilatedNet()
    return {"model": model, "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(scans(240, 0), batch_size=8, shuffle=True),
            "val_loader": DataLoader(scans(60, 1), batch_size=20), "loss_fn": focal_dice, "metric": dice_score}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        net.train()
        for img, mask in p["train_loader"]:
            opt.zero_grad()
            loss = focal_dice(net(img), mask)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            x, y = p["val_loader"].dataset.tensors
            dsc = dice_score(torch.cat([net(b) for b in x.split(20)]), y)
        print(f"epoch {epoch + 1:2d}: loss {loss.item():.4f}  val dice {dsc:.3f}")
    print(f"score: {dsc:.4f}")
