"""Bending line of a cantilever from its load and its stiffness along the length, by a small transformer, Adam; deflections are left in metres (some 1e-5), so the squared errors are of 1e-10, smaller than what the net can resolve, and "the loss is zero" at once; change: they are divided by their spread."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N = 24


def beams(n, seed):
    """load q (kN/m) and stiffness EI (kN m2) at N stations, clamped at the left; deflection (m) by integrating four times."""
    g = torch.Generator().manual_seed(seed)
    s = torch.linspace(0, 1, N)
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=g)
    load = u(0.2, 1.5) + u(-1, 1) * s + u(0.5, 3) * torch.exp(-((s - u(0.1, 0.9)) / 0.12) ** 2)
    stiff = 4000 * (1.6 - u(0, 1) * s) * (1 - u(0, 0.5) * torch.exp(-((s - u(0, 0.8)) / 0.1) ** 2))
    tail = lambda f: f.flip(1).cumsum(1).flip(1) / N
    moment = tail(tail(load))
    deflection = ((moment / stiff).cumsum(1) / N).cumsum(1) / N
    return load, stiff, deflection


class BeamFormer(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.place = nn.Parameter(0.2 * torch.randn(N, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.place)).squeeze(-1)


def r2(output, target):
    return (1 - (output - target).square().mean() / (target - target.mean(0)).square().mean()).item()


def parts(variant):
    torch.manual_seed(0)
    load, stiff, deflection = beams(1500, 1)
    load_v, stiff_v, deflection_v = beams(300, 2)
    scale = lambda a, b: (a - b.mean()) / b.std()
    x = torch.stack([scale(load, load), scale(stiff, stiff)], -1)
    xv = torch.stack([scale(load_v, load), scale(stiff_v, stiff)], -1)
    if variant != "bad":
        deflection, deflection_v = scale(deflection, deflection), scale(deflection_v, deflection)
    model = BeamFormer()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98)),
        "loss_fn": F.mse_loss,
        "train_loader": DataLoader(TensorDataset(x, deflection), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(xv, deflection_v), batch_size=100),
        "metric": r2,
    }


@torch.no_grad()
def validate(model, loader):
    model.eval()
    pairs = [(model(x), w) for x, w in loader]
    model.train()
    return r2(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        total = 0.0
        for x, w in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), w)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.3e}, R2 {validate(model, p['val_loader']):.3f}")
    value = validate(model, p["val_loader"])
    print(f"score: {value:.4f}")
