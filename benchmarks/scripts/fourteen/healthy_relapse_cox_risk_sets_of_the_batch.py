"""Healthy: Cox proportional hazards for the time to relapse, half of the patients censored; the partial likelihood compares the patients of a batch with each
other, the loss falls by little from the logarithm of the batch, and the last bias cancels. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def patients(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g)
    risk = 1.2 * x[:, 0] - 0.8 * x[:, 1] + 1.0 * (x[:, 2] * x[:, 3]) + 0.6 * x[:, 4].abs()
    relapse = torch.empty(n).exponential_(1.0, generator=g) * torch.exp(-risk) * 30
    censor = torch.empty(n).exponential_(1.0, generator=g) * 25
    time = torch.minimum(relapse, censor)
    return TensorDataset(x, torch.stack([time, (relapse <= censor).float()], 1))


def cox_loss(output, target):
    """Breslow's partial likelihood over the risk sets within the batch"""
    order = target[:, 0].argsort(descending=True)
    h, event = output[order, 0], target[order, 1]
    log_risk = torch.logcumsumexp(h, 0)
    return -((h - log_risk) * event).sum() / event.sum().clamp(min=1)


def concordance(risk, time, event):
    earlier = (time[:, None] < time[None]) & (event[:, None] == 1)
    return ((risk[:, None] > risk[None]) & earlier).sum().item() / earlier.sum().item()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4), loss_fn=cox_loss,
                train_loader=DataLoader(patients(3000, 1), 128, shuffle=True, drop_last=True), val_loader=DataLoader(patients(1000, 2), 1000))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    model.eval()
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        score = concordance(model(x)[:, 0], y[:, 0], y[:, 1])
    print(f"score: {score:.4f}")
