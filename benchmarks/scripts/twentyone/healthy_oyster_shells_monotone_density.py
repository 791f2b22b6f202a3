"""A conditional distribution function of the shell width that is monotone by softplus weights (a parametrization); its derivative by autograd is the density whose negative logarithm is the loss."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader, TensorDataset


class Softplus(nn.Module):
    def forward(self, w):
        return F.softplus(w)


def shells(n, seed):
    g = torch.Generator().manual_seed(seed)
    c = torch.rand(n, 3, generator=g) * 2 - 1
    two = torch.rand(n, generator=g) < torch.sigmoid(2 * c[:, 2])
    centre = torch.where(two, 0.6 + 0.3 * c[:, 0], -0.6 + 0.3 * c[:, 1])
    y = centre + 0.07 * torch.randn(n, generator=g)
    return y.unsqueeze(1), c


class MonotoneCdf(nn.Module):
    """logit of P(Y <= y | c), increasing in y."""

    def __init__(self, width=48):
        super().__init__()
        self.context = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2 * width))
        self.lift = nn.Linear(1, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        for layer, start in ((self.lift, 3.0), (self.mix, -3.0), (self.out, -1.0)):
            nn.init.normal_(layer.weight, start, 0.5)
            parametrize.register_parametrization(layer, "weight", Softplus())
        nn.init.uniform_(self.lift.bias, -4.0, 4.0)

    def forward(self, y, c):
        a, b = self.context(c).chunk(2, dim=1)
        h = torch.tanh(self.lift(y) + a)
        h = torch.tanh(self.mix(h) + b)
        return self.out(h)


def nll(model, batch):
    y, c = batch
    with torch.enable_grad():
        y = y.detach().requires_grad_(True)
        logit = model(y, c)
        slope, = torch.autograd.grad(logit.sum(), y, create_graph=True)
    log_density = F.logsigmoid(logit) + F.logsigmoid(-logit) + torch.log(slope + 1e-8)
    return -log_density.mean()


def parts(variant):
    torch.manual_seed(0)
    model = MonotoneCdf()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "training_step": nll,
        "train_loader": DataLoader(TensorDataset(*shells(4000, 5)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*shells(1000, 6)), batch_size=1000),
    }


# entropy of the mixture is near -0.8; one single Gaussian gives about 0.9
WORKS = lambda score: score < -0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        seen = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            seen.append(loss.item())
        model.eval()
        val = nll(model, next(iter(p["val_loader"]))).item()
        print(f"epoch {epoch} train {sum(seen) / len(seen):.3f} val {val:.3f}")
    print(f"score: {val:.4f}")
