"""Inverse problem: a net fits a few noisy temperatures of a cooling cup and at once finds the coefficient of Newton's law, a single parameter in its own group with its own rate; every batch is the same, the loss has two terms and starts in the thousands; sound."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ROOM, START, K = 20.0, 90.0, 0.7


class Cup(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.k = nn.Parameter(torch.tensor(0.1))

    def forward(self, t):
        return ROOM + (START - ROOM) * (1 + t * self.net(t / 2.5 - 1))    # exact at t = 0


def training_step(model, batch):
    t_obs, temp, t_free = batch
    data = (model(t_obs) - temp).pow(2).mean()
    t = t_free.clone().requires_grad_(True)
    u = model(t)
    du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
    physics = (du + model.k * (u - ROOM)).pow(2).mean()
    return data + 0.1 * physics


def parts(variant):
    torch.manual_seed(0)
    t_obs = torch.linspace(0.2, 4.0, 30)[:, None]
    temp = ROOM + (START - ROOM) * torch.exp(-K * t_obs) + torch.randn_like(t_obs)
    t_free = torch.linspace(0, 5, 30)[:, None]
    model = Cup()
    optimizer = torch.optim.Adam([{"params": model.net.parameters(), "lr": 2e-3},
                                  {"params": [model.k], "lr": 1e-2}])
    data = TensorDataset(t_obs, temp, t_free)
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "train_loader": DataLoader(data, batch_size=30), "val_loader": DataLoader(data, batch_size=30)}


WORKS = lambda score: abs(score - K) < 0.05

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(3000):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
        if epoch % 300 == 299:
            print(f"epoch {epoch + 1} loss {loss.item():.4f} k {model.k.item():.4f}")
    print(f"score: {model.k.item():.4f}")
