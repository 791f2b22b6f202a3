"""ODE-RNN for irregularly sampled oscillations: between observations the hidden state follows a learned differential equation (Euler, three substeps scaled by the gap), at an observation a GRU cell updates it; it predicts the value at a later time. Unusual: the time between samples, not the index, moves the state."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
OBS = 14


def pulses(n, seed):
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.exponential(0.5, (n, OBS)) + 0.05, 1)
    query = t[:, -1:] + rng.uniform(0.1, 1.5, (n, 1))
    w, ph, a = rng.uniform(0.7, 1.5, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1)), rng.uniform(0.6, 1.4, (n, 1))
    x = a * np.sin(w * t + ph) + rng.normal(0, 0.03, t.shape)
    y = a * np.sin(w * query + ph)
    gaps = np.diff(np.concatenate([t[:, :1], t, query], 1), axis=1)        # first gap is 0, last leads to the query
    f = lambda v: torch.tensor(v, dtype=torch.float32)
    return TensorDataset(f(x), f(gaps), f(y))


class ODERNN(nn.Module):
    def __init__(self, hidden=40, substeps=3):
        super().__init__()
        self.hidden, self.substeps = hidden, substeps
        self.field = nn.Sequential(nn.Linear(hidden, 48), nn.Tanh(), nn.Linear(48, hidden))
        self.cell = nn.GRUCell(1, hidden)
        self.out = nn.Sequential(nn.Linear(hidden, 32), nn.Tanh(), nn.Linear(32, 1))

    def flow(self, h, gap):
        dt = gap[:, None] / self.substeps
        for _ in range(self.substeps):
            h = h + dt * self.field(h)
        return h

    def forward(self, x, gaps):
        h = x.new_zeros(len(x), self.hidden)
        for i in range(x.shape[1]):
            h = self.cell(x[:, i:i + 1], self.flow(h, gaps[:, i]))
        return self.out(self.flow(h, gaps[:, -1]))


def step(model, batch, optimizer):
    x, gaps, y = batch
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x, gaps), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = ODERNN()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "step": step,
            "train_loader": DataLoader(pulses(6400, 0), batch_size=64, shuffle=True)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=5, eta_min=2e-4)
    for epoch in range(5):
        model.train()
        losses = [step(model, b, opt).item() for b in p["train_loader"]]
        sched.step()
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}")
    model.eval()
    se = var = 0.0
    with torch.no_grad():
        for x, gaps, y in DataLoader(pulses(600, 1), batch_size=300):
            se += ((model(x, gaps) - y) ** 2).sum().item()
            var += ((y - y.mean()) ** 2).sum().item()
    print("score:", 1 - se / var)
