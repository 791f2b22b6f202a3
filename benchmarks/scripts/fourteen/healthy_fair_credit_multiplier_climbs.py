"""Healthy: credit decisions with a bound on the gap between two groups: a multiplier climbs the loss while the network descends it (two optimizers, one with
maximize), the group is no input, and the total loss sways. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

ALLOWED = 0.05


def applicants(n, seed):
    g = torch.Generator().manual_seed(seed)
    group = (torch.rand(n, generator=g) < 0.4).float()
    income = torch.randn(n, generator=g) - 0.9 * group
    debt = torch.randn(n, generator=g)
    years = torch.randn(n, generator=g) + 0.3 * group
    postcode = 1.2 * group + 0.6 * torch.randn(n, generator=g)
    logit = 1.5 * income - 1.2 * debt + 0.8 * years * (income > 0) - 0.2
    y = (torch.rand(n, generator=g) < torch.sigmoid(1.5 * logit)).float()
    return TensorDataset(torch.stack([income, debt, years, postcode], 1), y, group)


def gap(logits, group):
    """difference of the mean rate of approval between the groups"""
    rate = torch.sigmoid(3 * logits)
    a, b = group == 1, group == 0
    return (rate[a].mean() - rate[b].mean()).abs()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    multiplier = nn.Parameter(torch.zeros(()))
    dual = torch.optim.SGD([multiplier], lr=0.05, maximize=True)

    def step(model, batch, optimizer):
        x, y, group = batch
        logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits, y) + multiplier * (gap(logits, group) - ALLOWED)
        optimizer.zero_grad()
        dual.zero_grad()
        loss.backward()
        optimizer.step()
        dual.step()
        with torch.no_grad():
            multiplier.clamp_(min=0)
        return loss.detach()

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), step=step,
                train_loader=DataLoader(applicants(6000, 1), 300, shuffle=True), val_loader=DataLoader(applicants(2000, 2), 2000))


# the accuracy of an approval that respects the bound, within the noise of the sample; else nothing
WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    x, y, group = next(iter(p["val_loader"]))
    for epoch in range(60):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            z = model(x)
        accuracy = ((z > 0).float() == y).float().mean().item()
        if epoch % 5 == 4:
            print(f"epoch {epoch}: {sum(losses) / len(losses):.4f} accuracy {accuracy:.4f} gap {gap(z, group).item():.4f}")
    score = accuracy if gap(z, group).item() < 2 * ALLOWED else 0.0
    print(f"score: {score:.4f}")
