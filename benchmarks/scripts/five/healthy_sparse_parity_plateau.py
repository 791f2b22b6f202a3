"""MLP that finds which five of 20 switches decide, by their parity, from fresh samples; no mistake: the loss sits at ln 2 for the better part of a thousand steps and then falls at once; change: nothing."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, IterableDataset

SWITCHES, SECRET = 20, [1, 4, 10, 13, 17]
WORKS = lambda acc: acc > 0.9


def draw(n, generator=None):
    x = torch.randint(0, 2, (n, SWITCHES), generator=generator).float() * 2 - 1
    return x, (x[:, SECRET].prod(1) > 0).float()


class FreshSamples(IterableDataset):
    """Never the same sample twice (or nearly); a pass ends after `batches`."""

    def __init__(self, batches, batch_size):
        self.batches, self.batch_size = batches, batch_size

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            yield draw(self.batch_size)


class Net(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.hidden = nn.Linear(SWITCHES, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x))).squeeze(1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Net()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=7e-4, weight_decay=1e-2),
            "train_loader": DataLoader(FreshSamples(9000, 128), batch_size=None),
            "val_loader": [draw(2000, torch.Generator().manual_seed(5))],
            "loss_fn": nn.BCEWithLogitsLoss(),
            "metric": lambda out, y: ((out > 0) == (y > 0.5)).float().mean()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    (x_val, y_val), = p["val_loader"]
    for i, (x, y) in enumerate(p["train_loader"]):
        loss = loss_fn(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if i % 500 == 499:
            with torch.no_grad():
                acc = p["metric"](model(x_val), y_val).item()
            print(f"iter {i + 1:5d}  loss {loss.item():.4f}  val acc {acc:.3f}", flush=True)
    print(f"score: {acc:.4f}")
