"""Healthy: echo state network; the recurrent weights are random and frozen, only the readout is trained, by L-BFGS."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def narma(n, seed):
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(n, generator=g) * 0.5
    y = torch.zeros(n)
    for t in range(5, n - 1):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * y[t - 4:t + 1].sum() + 1.5 * u[t - 4] * u[t] + 0.1
    return u, y


class EchoState(nn.Module):
    def __init__(self, units=150, radius=0.8):
        super().__init__()
        self.reservoir = nn.RNN(1, units, batch_first=True)
        with torch.no_grad():
            w = torch.randn(units, units) * (torch.rand(units, units) < 0.1)
            self.reservoir.weight_hh_l0.copy_(w * radius / torch.linalg.eigvals(w).abs().max())
            self.reservoir.weight_ih_l0.uniform_(-0.5, 0.5)
        for q in self.reservoir.parameters():
            q.requires_grad_(False)
        self.readout = nn.Linear(units, 1)
        nn.init.zeros_(self.readout.weight)

    def forward(self, u):
        with torch.no_grad():
            h, _ = self.reservoir(u)
        return self.readout(h[:, 30:])                # the first steps only fill the reservoir


def sequences(n, seed, length=130):
    u, y = narma(n * length, seed)
    return u.view(n, length, 1), y.view(n, length, 1)[:, 30:]


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = EchoState()
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.LBFGS(model.readout.parameters(), lr=0.5, max_iter=8, history_size=20, line_search_fn="strong_wolfe")

    def step(model, batch, optimizer):
        u, y = batch

        def closure():
            optimizer.zero_grad()
            loss = loss_fn(model(u), y)
            loss.backward()
            return loss

        return optimizer.step(closure)

    return {"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "step": step,
            "train_loader": DataLoader(TensorDataset(*sequences(60, 1)), batch_size=60),
            "val_loader": DataLoader(TensorDataset(*sequences(15, 2)), batch_size=15)}


WORKS = lambda score: score > 0.8        # R2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    u, y = next(iter(p["val_loader"]))
    for epoch in range(40):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            score = (1 - ((p["model"](u) - y) ** 2).mean() / y.var()).item()
        if epoch % 4 == 3:
            print(f"pass {epoch + 1}: mse {loss.item():.6f} r2 {score:.4f}")
    print(f"score: {score:.4f}")
