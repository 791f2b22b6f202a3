"""Sound: InfoGAN whose continuous code should stand for the angle of wind vectors (cos, sin on a ring); Q shares no body with the judge, generator and Q in one optimizer; nothing to change."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def winds(n):
    a = 2 * math.pi * torch.rand(n)
    r = 1.5 + 0.1 * torch.randn(n)
    return torch.stack([r * a.cos(), r * a.sin()], 1)


def mlp(*sizes):
    layers = []
    for i, o in zip(sizes, sizes[1:]):
        layers += [nn.Linear(i, o), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1])


def parts(variant):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"g": mlp(5, 64, 64, 2), "d": mlp(2, 64, 64, 1), "q": mlp(2, 64, 2)})
    opt_gq = torch.optim.Adam([{"params": nets["g"].parameters()}, {"params": nets["q"].parameters(), "lr": 1e-3}],
                              lr=5e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(nets["d"].parameters(), lr=1e-3, betas=(0.5, 0.999))

    def draw(n):
        a = 2 * math.pi * torch.rand(n)
        code = torch.stack([a.cos(), a.sin()], 1)
        return code, torch.cat([code, torch.randn(n, 3)], 1)

    def step(model, batch, optimizer):
        x = batch[0]
        code, latent = draw(len(x))
        made = model["g"](latent)
        opt_d.zero_grad()
        loss_d = F.softplus(-model["d"](x)).mean() + F.softplus(model["d"](made.detach())).mean()
        loss_d.backward()
        opt_d.step()

        optimizer.zero_grad()
        loss = F.softplus(-model["d"](made)).mean() + F.mse_loss(model["q"](made), code)
        loss.backward()
        optimizer.step()
        return loss

    return {"model": nets, "optimizer": opt_gq, "step": step,
            "train_loader": DataLoader(TensorDataset(winds(4000)), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(winds(800)), batch_size=80), "draw": draw}


# share of made winds on the ring, times the share of 12 sectors that get at least 3 %
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(50):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} generator and Q {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        made = p["model"]["g"](p["draw"](3000)[1])
    ring = (made.norm(dim=1) - 1.5).abs() < 0.4
    sector = ((torch.atan2(made[:, 1], made[:, 0]) + math.pi) / (2 * math.pi) * 12).long().clamp(max=11)
    share = torch.bincount(sector, minlength=12) / len(made)
    score = ring.float().mean().item() * (share > 0.03).float().mean().item()
    print(f"score: {score:.4f}")
