"""Fit of a logistic growth curve (three physical parameters by Adam) with everything in bfloat16; an update of 0.001 is below half the spacing of bfloat16 numbers near 1 and 2, so it is rounded away and the parameters never move; the right change: float32 parameters."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Growth(nn.Module):
    """y = K / (1 + exp(-r (t - t0)))"""

    def __init__(self, K=2.0, r=0.8, t0=3.0):
        super().__init__()
        self.K = nn.Parameter(torch.tensor(K))
        self.r = nn.Parameter(torch.tensor(r))
        self.t0 = nn.Parameter(torch.tensor(t0))

    def forward(self, t):
        return self.K * torch.sigmoid(self.r * (t - self.t0))


def colony(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(n, 1, generator=g) * 10
    return t, 3.4 * torch.sigmoid(1.5 * (t - 4.6)) + 0.05 * torch.randn(n, 1, generator=g)


def parts(variant):
    torch.manual_seed(0)
    dtype = torch.bfloat16 if variant == "bad" else torch.float32
    model = Growth().to(dtype)
    t, y = (v.to(dtype) for v in colony(600, 0))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(t[:500], y[:500]), 50, shuffle=True),
                val_loader=DataLoader(TensorDataset(t[500:], y[500:]), 100))


WORKS = lambda score: score > 0.95   # R2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(400):
        for t, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(t), y)
            loss.backward()
            opt.step()
        if epoch % 80 == 79:
            print(f"epoch {epoch + 1} loss {loss.item():.4f} K {model.K.item():.3f} r {model.r.item():.3f} t0 {model.t0.item():.3f}")
    t, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", 1 - ((model(t).float() - y.float()) ** 2).mean().item() / y.float().var().item())
