"""Healthy: echo-state network; the reservoir is random and frozen on purpose, only the readout is in the optimizer; nothing to change."""
import sys, torch, torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

class Reservoir(nn.Module):
    def __init__(self, n_in=1, n=150, radius=0.9):
        super().__init__()
        W = torch.randn(n, n) * (torch.rand(n, n) < 0.1)
        self.W = nn.Parameter(W * radius / torch.linalg.eigvals(W).abs().max(), requires_grad=False)
        self.W_in = nn.Parameter(torch.rand(n, n_in) - 0.5, requires_grad=False)
        self.readout = nn.Linear(n, 1)
    def forward(self, u):
        h = u.new_zeros(len(u), len(self.W))
        for t in range(u.shape[1]):
            h = torch.tanh(h @ self.W.t() + u[:, t] @ self.W_in.t())
        return self.readout(h)

def series(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(40) * 0.3; f = 0.6 + 0.4 * torch.rand(n, 1, generator=g); ph = 6.28 * torch.rand(n, 1, generator=g)
    s = torch.sin(f * t + ph) + 0.4 * torch.sin(2.3 * f * t + 2 * ph)
    return TensorDataset(s[:, :39, None], s[:, 39:])

def parts(variant="fixed"):
    torch.manual_seed(0); m = Reservoir()
    return dict(model=m, optimizer=torch.optim.Adam([q for q in m.parameters() if q.requires_grad], lr=1e-2), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(series(1500, 0), 50, shuffle=True), val_loader=DataLoader(series(300, 1), 300))

WORKS = lambda score: score < 0.1      # error against the variance

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"); m = p["model"]
    for e in range(25):
        for u, y in p["train_loader"]:
            p["optimizer"].zero_grad(); l = p["loss_fn"](m(u), y); l.backward(); p["optimizer"].step()
        if e % 5 == 4: print(e + 1, l.item())
    with torch.no_grad():
        (u, y), = list(p["val_loader"]); print("score:", (((m(u) - y) ** 2).mean() / y.var()).item())
