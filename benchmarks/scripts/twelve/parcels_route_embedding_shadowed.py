"""Delivery time of parcels from a table with the depot as a category; in the forward pass the depot's embedding is computed but the concatenation takes the old list (`pieces + [e]` is not assigned), so the embedding gets no gradient and the depot no say; change: append to the list."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DEPOTS = 40


def parcels(n, seed):
    fixed = torch.Generator().manual_seed(77)
    delay, slope = 2.0 * torch.randn(DEPOTS, generator=fixed), torch.randn(DEPOTS, generator=fixed)
    g = torch.Generator().manual_seed(seed)
    depot = torch.randint(0, DEPOTS, (n,), generator=g)
    x = torch.randn(n, 4, generator=g)
    y = delay[depot] + slope[depot] * x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + 0.2 * torch.randn(n, generator=g)
    return x, depot, y / 2.3


class DeliveryNet(nn.Module):
    def __init__(self, use_depot_when):
        super().__init__()
        self.use_depot_when = use_depot_when
        self.depot = nn.Embedding(DEPOTS, 8)
        self.depot_to_hidden = nn.Linear(8, 64)
        self.numbers = nn.Linear(4, 64)
        self.rest = nn.Sequential(nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, x, depot):
        pieces = [self.numbers(x)]
        depot_piece = self.depot_to_hidden(self.depot(depot))
        if self.use_depot_when == "assigned":
            pieces = pieces + [depot_piece]
        else:
            pieces + [depot_piece]
        return self.rest(torch.stack(pieces).sum(0)).squeeze(1)


def training_step(model, batch):
    x, depot, y = batch
    return nn.functional.huber_loss(model(x, depot), y)


def parts(variant):
    torch.manual_seed(0)
    model = DeliveryNet("dropped" if variant == "bad" else "assigned")
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.85),
        "train_loader": DataLoader(TensorDataset(*parcels(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*parcels(800, 2)), batch_size=400),
        "training_step": training_step,
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    rows = [(model(x, d), y) for x, d, y in loader]
    out, y = torch.cat([a for a, _ in rows]), torch.cat([b for _, b in rows])
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1:2d}  loss {loss.item():.4f}  R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
