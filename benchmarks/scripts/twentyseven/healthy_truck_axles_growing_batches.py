"""Trucks sorted into five axle layouts by the strain a bridge sees as they cross. Odd, but right: the rate never falls, instead the batches grow from 16 to 256 (the schedule of Smith et al., 2018: less noise in the gradient as with a smaller rate), so an epoch has ever fewer steps and the loader a length that changes. SGD with momentum. Score: held-out accuracy."""
import numpy as np
import torch
import torch.nn as nn

torch.set_num_threads(1)
LAYOUTS = [[0, 4], [0, 3, 4.3], [0, 3.5, 9, 10.3], [0, 3.5, 4.8, 10], [0, 3.5, 9, 10.3, 11.6]]
SAMPLES = 96


def cross_bridge(n, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(LAYOUTS), n)
    metres = np.linspace(0, 24, SAMPLES)
    signals = np.zeros((n, SAMPLES))
    for i, k in enumerate(label):
        stretch, start = rng.uniform(0.85, 1.15), rng.uniform(1, 8)
        for axle in LAYOUTS[k]:
            where, load = start + axle * stretch, rng.uniform(0.6, 1.4)
            signals[i] += load * np.exp(-((metres - where) / 0.45) ** 2)
    drift = np.cumsum(rng.normal(0, 0.02, (n, SAMPLES)), 1)
    return (signals + drift + 0.12 * rng.normal(size=(n, SAMPLES))).astype(np.float32), label


class GrowingBatches:
    """An epoch's batches; each pass moves one place along the list of sizes."""

    def __init__(self, x, y, sizes):
        self.x, self.y, self.sizes, self.epoch = x, y, sizes, 0

    @property
    def batch_size(self):
        return self.sizes[min(self.epoch, len(self.sizes) - 1)]

    def __len__(self):
        return -(-len(self.y) // self.batch_size)

    def __iter__(self):
        size = self.batch_size
        order = torch.randperm(len(self.y))
        for idx in order.split(size):
            yield self.x[idx], self.y[idx]
        self.epoch += 1


class AxleNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, c, 7, padding=3), nn.GroupNorm(4, c), nn.ReLU(), nn.MaxPool1d(2),
                                 nn.Conv1d(c, 2 * c, 5, padding=2), nn.GroupNorm(4, 2 * c), nn.ReLU(), nn.MaxPool1d(4),
                                 nn.Conv1d(2 * c, 2 * c, 5, padding=2), nn.GroupNorm(4, 2 * c), nn.ReLU(), nn.AdaptiveMaxPool1d(1),
                                 nn.Flatten(), nn.Linear(2 * c, len(LAYOUTS)))

    def forward(self, x):
        return self.net(x)


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(30)
    (x, y), (xv, yv) = cross_bridge(2000, 1), cross_bridge(500, 2)
    mean, std = x.mean(), x.std()
    to = lambda a: torch.from_numpy((a - mean) / std).unsqueeze(1)
    model = AxleNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": GrowingBatches(to(x), torch.from_numpy(y), [16, 16, 32, 32, 64, 64, 128, 256, 256]),
            "val_loader": [(to(xv), torch.from_numpy(yv))]}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(9):
        loader, total = p["train_loader"], 0.0
        size, steps = loader.batch_size, len(loader)
        p["model"].train()
        for x, y in loader:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        p["model"].eval()
        with torch.no_grad():
            x, y = p["val_loader"][0]
            score = p["metric"](p["model"](x), y)
        print(f"epoch {epoch}: {steps} batches of {size}, loss {total / steps:.3f} accuracy {score:.3f}")
    print("score:", score)
