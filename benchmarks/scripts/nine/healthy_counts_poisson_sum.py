"""Sound: visits to a shop from integer counts with a very wide range, which a BatchNorm takes in; Poisson likelihood without its constant term, summed over the batch, so the loss is a huge negative number, and the gradient is clipped at nearly every step."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

COLUMNS = 6


def days(n, seed):
    """Whole numbers: passers-by, cars, tram riders, leaflets, seats, age of the shop in days."""
    g = torch.Generator().manual_seed(seed)
    base = torch.tensor([20000.0, 4000.0, 900.0, 300.0, 40.0, 3000.0])
    z = torch.randn(n, COLUMNS, generator=g)
    x = (base * (1 + 0.3 * z).clamp(min=0.05)).long()
    drive = 0.5 * z[:, 0] + 0.3 * torch.tanh(2 * z[:, 1]) + 0.3 * z[:, 3] * (z[:, 4] > 0) - 0.25 * z[:, 5]
    visits = torch.poisson(torch.exp(5.0 + drive), generator=g)
    return x.float(), visits


class VisitRate(nn.Module):
    """Log of the rate."""

    def __init__(self):
        super().__init__()
        self.scale = nn.BatchNorm1d(COLUMNS, affine=False)
        self.net = nn.Sequential(nn.Linear(COLUMNS, 64), nn.SiLU(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(self.scale(x)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = VisitRate()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25),
        "loss_fn": nn.PoissonNLLLoss(log_input=True, reduction="sum"),
        "train_loader": DataLoader(TensorDataset(*days(4000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*days(800, 2)), batch_size=400),
    }


@torch.no_grad()
def explained_deviance(model, loader):
    model.eval()
    log_rate, visits = zip(*[(model(x), y) for x, y in loader])
    log_rate, visits = torch.cat(log_rate), torch.cat(visits)
    loglik = lambda r: (torch.xlogy(visits, r) - r).sum()
    best, flat = loglik(visits), loglik(visits.mean().expand_as(visits))
    return ((loglik(log_rate.exp()) - flat) / (best - flat)).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, visits in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), visits)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            optimizer.step()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: summed nll {total:.0f}, deviance explained {explained_deviance(model, p['val_loader']):.3f}")
    print(f"score: {explained_deviance(model, p['val_loader']):.4f}")
