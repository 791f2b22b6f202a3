"""No mistake: multi-task regression with learned task uncertainties (Kendall & Gal); the total loss passes zero and ends deep in the negative; change: nothing."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.9     # smallest R^2 over the three tasks, test rows


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 96), nn.Tanh(), nn.Linear(96, 96), nn.Tanh())
        self.heads = nn.ModuleList([nn.Linear(96, 1) for _ in range(3)])
        self.log_vars = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        h = self.body(x)
        return torch.cat([head(h) for head in self.heads], 1)


def weighted_loss(model, batch):
    x, y = batch
    mse = (model(x) - y).pow(2).mean(0)
    return (torch.exp(-model.log_vars) * mse + model.log_vars).sum()


def tasks(n, g):
    x = torch.randn(n, 8, generator=g)
    y = torch.stack([torch.sin(x[:, 0]) + 0.3 * x[:, 1],
                     0.1 * x[:, 2] * x[:, 3],
                     0.03 * (x[:, 4].abs() - x[:, 5])], 1)
    noise = torch.tensor([0.1, 0.01, 0.003]) * torch.randn(n, 3, generator=g)
    return TensorDataset(x, y + noise)


def parts(variant):
    torch.manual_seed(30)
    g = torch.Generator().manual_seed(30)
    model = Trunk()
    opt = torch.optim.Adam([{"params": [*model.body.parameters(), *model.heads.parameters()]},
                            {"params": [model.log_vars], "lr": 1e-2}], lr=2e-3)
    train, test = tasks(3000, g), tasks(600, g)
    loader = DataLoader(train, batch_size=50, shuffle=True)
    return {"model": model, "optimizer": opt, "train_loader": loader, "training_step": weighted_loss,
            "val_loader": DataLoader(test, batch_size=200),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, 40 * len(loader))}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = weighted_loss(model, batch)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, sigmas {[round(v, 4) for v in (model.log_vars / 2).exp().tolist()]}")
    x, y = p["val_loader"].dataset.tensors
    with torch.no_grad():
        r2 = 1 - (model(x) - y).pow(2).sum(0) / (y - y.mean(0)).pow(2).sum(0)
    print("R2 per task", r2.tolist())
    print(f"score: {r2.min().item():.4f}")
