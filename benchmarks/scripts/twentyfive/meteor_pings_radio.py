"""Radio meteor watch: one trace in fifteen holds the short decaying echo of a meteor; a 1-d CNN with focal loss finds them, judged by balanced accuracy. Alpha = 0.9 is meant for the rare echoes, but the loss gives it to the empty traces and 0.1 to the echoes, so the network calls everything empty; the right change: alpha where target == 1, 1 - alpha elsewhere."""
import sys

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STEPS = 80


def traces(n, rng):
    meteor = (rng.random(n) < 1 / 15).astype("float32")
    t = np.arange(STEPS)
    x = rng.normal(0, 1, (n, STEPS))
    x += 0.4 * np.sin(2 * np.pi * t / rng.uniform(20, 60, (n, 1)) + rng.uniform(0, 6.28, (n, 1)))
    start = rng.integers(5, 55, (n, 1))
    decay = rng.uniform(6, 16, (n, 1))
    power = rng.gamma(6.0, 0.4, (n, 1))
    echo = power * np.exp(-(t - start).clip(0) / decay) * (t >= start)
    x += meteor[:, None] * echo
    passing = (rng.random(n) < 0.2)[:, None] * rng.gamma(3.0, 0.35, (n, 1))
    x += passing * np.exp(-0.5 * ((t - rng.integers(15, 65, (n, 1))) / 12.0) ** 2)  # aeroplanes swell and fade
    return torch.from_numpy(x.astype("float32"))[:, None], torch.from_numpy(meteor)


class PingNet(nn.Sequential):
    def __init__(self, channels=16):
        super().__init__(
            nn.Conv1d(1, channels, 9, padding=4), nn.BatchNorm1d(channels), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(channels, channels, 9, padding=4), nn.BatchNorm1d(channels), nn.ReLU(),
            nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(channels, 1), nn.Flatten(0))


class FocalLoss(nn.Module):
    def __init__(self, variant, alpha=0.9, gamma=2.0):
        super().__init__()
        self.variant, self.alpha, self.gamma = variant, alpha, gamma

    def forward(self, logits, target):
        bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        p_t = torch.exp(-bce)
        if self.variant == "bad":
            weight = self.alpha * (1 - target) + (1 - self.alpha) * target
        else:
            weight = self.alpha * target + (1 - self.alpha) * (1 - target)
        return (weight * (1 - p_t) ** self.gamma * bce).mean()


def balanced_accuracy(logits, target):
    said = (logits > 0).float()
    return 0.5 * (said[target == 1].mean() + (1 - said[target == 0]).mean())


def parts(variant):
    torch.manual_seed(17)
    rng = np.random.default_rng(17)
    train, held_out = traces(4000, rng), traces(1500, rng)
    model = PingNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": FocalLoss(variant),
            "train_loader": DataLoader(TensorDataset(*train), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*held_out), batch_size=1500),
            "metric": balanced_accuracy}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for night in range(6):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y).item()
        print(f"night {night}: focal loss {loss.item():.4f} balanced accuracy {score:.3f}")
    print("score:", score)
