"""Healthy: RealNVP flow on narrow correlated data; the negative log-likelihood passes zero and goes below, the couplings start at zero (identity map); nothing to change."""
import sys, math, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Coupling(nn.Module):
    def __init__(self, flip):
        super().__init__(); self.flip = flip
        self.net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 4))
        nn.init.zeros_(self.net[2].weight); nn.init.zeros_(self.net[2].bias)
    def forward(self, x):
        a, b = x.chunk(2, 1)
        if self.flip: a, b = b, a
        s, t = self.net(a).chunk(2, 1); s = 2 * torch.tanh(s / 2)
        b = b * s.exp() + t
        return torch.cat((b, a) if self.flip else (a, b), 1), s.sum(1)

class Flow(nn.Module):
    def __init__(self, n=6):
        super().__init__(); self.layers = nn.ModuleList(Coupling(i % 2 == 1) for i in range(n))
    def forward(self, x):
        ld = 0
        for l in self.layers: x, d = l(x); ld = ld + d
        return -0.5 * x.pow(2).sum(1) - 2 * math.log(2 * math.pi) + ld

def data(n, seed):
    g = torch.Generator().manual_seed(seed); z = 0.5 * torch.randn(n, 2, generator=g)
    return TensorDataset(torch.cat([z, torch.sin(2 * z) + 0.02 * torch.randn(n, 2, generator=g)], 1))

def parts(variant="fixed"):
    torch.manual_seed(0); m = Flow()
    return {"model": m, "optimizer": torch.optim.Adamax(m.parameters(), lr=5e-3), "training_step": lambda model, batch: -model(batch[0]).mean(),
            "train_loader": DataLoader(data(4000, 0), 100, shuffle=True), "val_loader": DataLoader(data(1000, 1), 500)}

WORKS = lambda score: score < -1.0

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(30):
        for b in p["train_loader"]:
            l = p["training_step"](p["model"], b); p["optimizer"].zero_grad(); l.backward(); p["optimizer"].step()
        if e % 5 == 4: print(e + 1, l.item())
    with torch.no_grad(): print("score:", sum(p["training_step"](p["model"], b).item() for b in p["val_loader"]) / 2)
