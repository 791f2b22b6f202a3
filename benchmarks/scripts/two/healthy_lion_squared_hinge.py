"""Healthy: own sign-based optimizer (Lion) and squared hinge with +-1 labels on a table with raw 0/1 columns, no biases anywhere; nothing to change."""
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import make_classification

class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), wd=0.0): super().__init__(params, dict(lr=lr, betas=betas, wd=wd))
    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            b1, b2 = g["betas"]
            for q in g["params"]:
                if q.grad is None: continue
                m = self.state[q].setdefault("m", torch.zeros_like(q))
                q.mul_(1 - g["lr"] * g["wd"]).add_((b1 * m + (1 - b1) * q.grad).sign(), alpha=-g["lr"])
                m.mul_(b2).add_(q.grad, alpha=1 - b2)

def squared_hinge(out, y): return torch.clamp(1 - out.squeeze(1) * y, min=0).pow(2).mean()

def parts(variant="fixed"):
    torch.manual_seed(0)
    X, y = make_classification(3000, 20, n_informative=8, class_sep=1.2, random_state=1)
    X, y = torch.tensor((X > 0) * 1.0, dtype=torch.float32), torch.tensor(2.0 * y - 1, dtype=torch.float32)
    m = nn.Sequential(nn.Linear(20, 100, bias=False), nn.ELU(), nn.Linear(100, 1, bias=False))
    return dict(model=m, optimizer=Lion(m.parameters(), lr=5e-4, wd=0.1), loss_fn=squared_hinge,
                train_loader=DataLoader(TensorDataset(X[:2400], y[:2400]), 48, shuffle=True), val_loader=DataLoader(TensorDataset(X[2400:], y[2400:]), 300))

WORKS = lambda s: s > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"); m = p["model"]
    for e in range(15):
        for x, y in p["train_loader"]:
            l = p["loss_fn"](m(x), y); p["optimizer"].zero_grad(); l.backward(); p["optimizer"].step()
        if e % 5 == 4: print(e + 1, l.item())
    with torch.no_grad(): print("score:", torch.cat([((m(x).squeeze(1) * y) > 0).float() for x, y in p["val_loader"]]).mean().item())
