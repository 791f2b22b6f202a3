"""Healthy: strength of cement in kPa from a mix; targets of tens of thousands stay raw, the network normalises its inputs and scales its output with
constants of the training part kept in buffers, and the mean squared error is in the millions from first to last. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mixes(n, seed):
    g = torch.Generator().manual_seed(seed)
    cement = 150 + 350 * torch.rand(n, generator=g)
    water = 130 + 100 * torch.rand(n, generator=g)
    slag = 200 * torch.rand(n, generator=g) * (torch.rand(n, generator=g) < 0.5)
    days = torch.tensor([3.0, 7, 14, 28, 56, 90])[torch.randint(0, 6, (n,), generator=g)]
    plasticiser = 15 * torch.rand(n, generator=g)
    ratio = water / (cement + 0.6 * slag)
    mpa = 95 * torch.exp(-1.4 * ratio) * (days / (days + 6)) * (1 + 0.01 * plasticiser)
    kpa = 1000 * (mpa + 1.5 * torch.randn(n, generator=g))
    return torch.stack([cement, water, slag, days, plasticiser], 1), kpa[:, None]


class Strength(nn.Module):
    def __init__(self, x, y):
        super().__init__()
        self.register_buffer("x_mean", x.mean(0))
        self.register_buffer("x_std", x.std(0))
        self.register_buffer("y_mean", y.mean(0))
        self.register_buffer("y_std", y.std(0))
        self.net = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x):
        z = self.net((x - self.x_mean) / self.x_std)
        return self.y_mean + self.y_std * z


def parts(variant):
    torch.manual_seed(0)
    x, y = mixes(1200, 1)
    model = Strength(x, y)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.MSELoss(),
                scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 20, gamma=0.4),
                train_loader=DataLoader(TensorDataset(x, y), 40, shuffle=True),
                val_loader=DataLoader(TensorDataset(*mixes(400, 2)), 400))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        p["scheduler"].step()
        if epoch % 5 == 0:
            print(f"epoch {epoch}: mse {total / len(p['train_loader']):.0f}")
    model.eval()
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        score = 1 - (((model(x) - y) ** 2).mean() / y.var(correction=0)).item()
    print(f"score: {score:.4f}")
