"""Healthy: spots of 2 % of the picture, soft dice loss alone, Adamax, bf16 autocast and two-step accumulation; nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def spots(n, seed, size=28):
    g = torch.Generator().manual_seed(seed)
    r = torch.arange(size).float()
    yy, xx = torch.meshgrid(r, r, indexing="ij")
    c = torch.rand(n, 2, 1, 1, generator=g) * (size - 8) + 4
    mask = (((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) < 2.3 ** 2).float()
    img = torch.randn(n, size, size, generator=g) * 0.7
    img = img + 1.3 * mask + torch.rand(n, 1, 1, generator=g) * 2
    return img.unsqueeze(1), mask.unsqueeze(1)


def soft_dice(logits, mask):
    p = torch.sigmoid(logits.float())
    inter = (p * mask).sum((1, 2, 3))
    return (1 - (2 * inter + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


def parts(variant):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.GroupNorm(4, 16), nn.SiLU(),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.GroupNorm(4, 16), nn.SiLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 1, 1))
    nn.init.constant_(net[-1].bias, -2.0)
    count = {"i": 0}

    def step(model, batch, optimizer):
        x, m = batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        loss = soft_dice(out, m)
        (loss / 2).backward()
        count["i"] += 1
        if count["i"] % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return {"model": net, "optimizer": torch.optim.Adamax(net.parameters(), lr=5e-3), "loss_fn": soft_dice, "step": step,
            "train_loader": DataLoader(TensorDataset(*spots(240, 1)), batch_size=8, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*spots(60, 2)), batch_size=60)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(15):
        net.train()
        losses = [p["step"](net, b, p["optimizer"]).item() for b in p["train_loader"]]
        net.eval()
        with torch.no_grad():
            x, m = next(iter(p["val_loader"]))
            hit = (net(x) > 0).float()
            dice = (2 * (hit * m).sum() / (hit.sum() + m.sum())).item()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} dice {dice:.4f}")
    print(f"score: {dice:.4f}")
