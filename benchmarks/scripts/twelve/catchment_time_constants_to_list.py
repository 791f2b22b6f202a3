"""Discharge from rain by a bank of leaky reservoirs with learnable time constants and a small readout, AdamW; the constants go through .tolist() on their way to the recursion, so no gradient reaches them and they stay at the start's one to three hours, where the catchment remembers for days; change: the decay is computed on the parameter itself."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

HOURS = 96


def storms(n, seed):
    g = torch.Generator().manual_seed(seed)
    wet = (torch.rand(n, HOURS, generator=g) < 0.12).float()
    rain = wet * -torch.log(torch.rand(n, HOURS, generator=g))
    soil, ground = torch.zeros(n), torch.zeros(n)
    flow = torch.zeros(n, HOURS)
    for t in range(HOURS):
        soil = math.exp(-1 / 14) * soil + rain[:, t]
        ground = math.exp(-1 / 40) * ground + 0.3 * rain[:, t]
        flow[:, t] = 0.5 * soil + 0.6 * ground + 0.3 * soil * ground
    flow = (flow - 2.2) / 1.5 + 0.05 * torch.randn(n, HOURS, generator=g)
    return (rain - 0.12) / 0.45, flow


class Reservoirs(nn.Module):
    def __init__(self, units, through_list):
        super().__init__()
        self.log_tau = nn.Parameter(torch.linspace(0.0, math.log(3.0), units))
        self.through_list = through_list

    def decay(self):
        if self.through_list:
            return torch.tensor([math.exp(-1 / math.exp(v)) for v in self.log_tau.tolist()])
        return torch.exp(-torch.exp(-self.log_tau))

    def forward(self, rain):
        a = self.decay()
        h = rain.new_zeros(len(rain), len(a))
        levels = []
        for t in range(rain.shape[1]):
            h = a * h + (1 - a).sqrt() * rain[:, t, None]
            levels.append(h)
        return torch.stack(levels, 1)


class RainfallRunoff(nn.Module):
    def __init__(self, through_list, units=8):
        super().__init__()
        self.reservoirs = Reservoirs(units, through_list)
        self.readout = nn.Sequential(nn.Linear(units, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, rain):
        return self.readout(self.reservoirs(rain)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = RainfallRunoff(through_list=variant == "bad")
    groups = [
        {"params": model.reservoirs.parameters(), "lr": 0.03, "weight_decay": 0.0},
        {"params": model.readout.parameters(), "lr": 5e-3},
    ]
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(groups, weight_decay=1e-4),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*storms(800, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*storms(200, 2)), batch_size=100),
    }


@torch.no_grad()
def nash_sutcliffe(model, loader):
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return 1 - ((out - y) ** 2).sum().item() / ((y - y.mean()) ** 2).sum().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(14):
        model.train()
        for rain, flow in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(rain), flow)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, NSE {nash_sutcliffe(model, p['val_loader']):.3f}")
    print(f"score: {nash_sutcliffe(model, p['val_loader']):.4f}")
