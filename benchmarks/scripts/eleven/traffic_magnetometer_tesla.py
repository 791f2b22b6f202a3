"""Kind of vehicle (5) from the trace of a magnetometer in the road, 1-D CNN, SGD with momentum and cosine decay; the traces are in tesla (some 1e-6 about nothing), far below the biases, and the net sees next to no input; change: standardised traces."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T = 80
SHAPES = [(1, -1), (1, 1), (1, -1, 1), (-1, 1, 1), (1, 1, 1, -1)]     # the signs of the poles, front to back


def vehicles(n, seed):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, len(SHAPES), n)
    t = np.linspace(0, 1, T)
    field = np.zeros((n, 3, T))
    for i, k in enumerate(kind):
        start, length, height = rng.uniform(0.1, 0.3), rng.uniform(0.35, 0.6), rng.uniform(1.0, 3.0)
        for j, sign in enumerate(SHAPES[k]):
            c = (t - start - length * j / (len(SHAPES[k]) - 1)) / 0.05
            bump = np.exp(-0.5 * c ** 2)
            field[i, 0] += sign * height * bump
            field[i, 1] += sign * height * 0.7 * c * bump
            field[i, 2] += 0.4 * height * bump * rng.normal()
    field += 0.25 * rng.normal(size=field.shape)
    return torch.tensor(field * 1e-6, dtype=torch.float32), torch.tensor(kind)      # microtesla -> SI


class TraceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(3, 24, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 48, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(48 * (T // 8), 64), nn.ReLU(), nn.Linear(64, len(SHAPES)))

    def forward(self, x):
        return self.classifier(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    (xt, yt), (xv, yv) = vehicles(2500, 1), vehicles(500, 2)
    if variant != "bad":
        mean, std = xt.mean((0, 2), keepdim=True), xt.std((0, 2), keepdim=True)
        xt, xv = (xt - mean) / std, (xv - mean) / std
    net = TraceNet()
    sgd = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    return {
        "model": net,
        "optimizer": sgd,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=10),      # stepped each epoch
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(xt, yt), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(xv, yv), batch_size=100),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion = p["model"], p["loss_fn"]

    def accuracy():
        net.eval()
        with torch.no_grad():
            return float(np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]]))

    for epoch in range(10):
        net.train()
        total, seen = 0.0, 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            p["optimizer"].step()
            total, seen = total + loss.item() * len(x), seen + len(x)
        p["scheduler"].step()
        print(f"epoch {epoch + 1}/10 - loss: {total / seen:.4f} - val_accuracy: {accuracy():.4f}")
    print(f"score: {accuracy():.4f}")
