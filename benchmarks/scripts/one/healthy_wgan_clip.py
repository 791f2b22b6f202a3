"""Healthy: WGAN with weight clipping and RMSprop on two Gaussian ridges; the critic's loss is negative and moves towards 0 (it rises), the generator's drifts; nothing to change."""
import sys, math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def ridges(n, seed):
    g = torch.Generator().manual_seed(seed)
    side = (torch.rand(n, generator=g) < 0.5).float() * 2 - 1
    x = torch.randn(n, 2, generator=g) * torch.tensor([0.15, 0.8])
    x[:, 0] += side
    return x


def parts(variant):
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def step(model, optimizer, batch):
        for real in batch[0].chunk(5):
            optimizer["D"].zero_grad()
            fake = model["G"](torch.randn(len(real), 4)).detach()
            loss_d = model["D"](fake).mean() - model["D"](real).mean()
            loss_d.backward()
            optimizer["D"].step()
            for w in model["D"].parameters():
                w.data.clamp_(-0.1, 0.1)
        optimizer["G"].zero_grad()
        (-model["D"](model["G"](torch.randn(128, 4))).mean()).backward()
        optimizer["G"].step()
        return loss_d.detach()

    return {"model": {"G": G, "D": D}, "step": step,
            "optimizer": {"G": torch.optim.RMSprop(G.parameters(), 5e-4), "D": torch.optim.RMSprop(D.parameters(), 1e-3)},
            "train_loader": DataLoader(TensorDataset(ridges(32000, 1)), 640, shuffle=True), "val_loader": DataLoader(TensorDataset(ridges(2000, 2)), 2000)}


WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(30):
        for b in p["train_loader"]:
            l = p["step"](p["model"], p["optimizer"], b)
        if e % 5 == 4: print(e + 1, "critic", l.item())
    r = next(iter(p["val_loader"]))[0]
    with torch.no_grad():
        f = p["model"]["G"](torch.randn(2000, 4))
    a = torch.arange(32) * math.pi / 32
    v = torch.stack([a.cos(), a.sin()])
    print("score:", (torch.sort(r @ v, 0).values - torch.sort(f @ v, 0).values).abs().mean().item())
