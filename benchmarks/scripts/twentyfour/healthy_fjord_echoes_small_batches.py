"""A 1-D CNN that tells the sea floor from sonar echoes, where the loader gives batches of four and the update is made only at every eighth batch, with the sum of the eight losses divided by eight, and a clipping at 0.3 that is active nearly always. A sound program: that is a batch of 32, GroupNorm does not care for the batch size, Adam does not care for the scale. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FLOORS = ["mud", "sand", "gravel", "rock", "kelp"]
LENGTH, MICRO, EVERY = 96, 4, 8


def echoes(n, seed):
    rng = np.random.default_rng(seed)
    floor = rng.integers(0, len(FLOORS), n)
    t = np.arange(LENGTH)
    traces = np.empty((n, LENGTH), dtype=np.float32)
    for row, k in enumerate(floor):
        hit = rng.integers(15, 35)
        late = np.clip(t - hit, 0, None) * (t >= hit)
        decay = [18, 12, 8, 4, 14][k] * rng.uniform(0.85, 1.15)
        envelope = (t >= hit) * np.exp(-late / decay)
        pitch = [0.10, 0.16, 0.22, 0.30, 0.16][k]
        ring = np.cos(2 * np.pi * pitch * late)
        if k == 4:
            ring = ring * (1 + np.sin(2 * np.pi * 0.04 * late + rng.uniform(0, 6)))
        traces[row] = rng.uniform(0.7, 1.3) * envelope * ring + rng.normal(0, 0.12, LENGTH)
    traces /= traces.std()
    return TensorDataset(torch.from_numpy(traces).unsqueeze(1), torch.from_numpy(floor))


class EchoNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.GroupNorm(4, 16), nn.ReLU(),
            nn.Conv1d(16, 32, 7, stride=2, padding=3), nn.GroupNorm(4, 32), nn.ReLU(),
            nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.GroupNorm(4, 32), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, len(FLOORS)))

    def forward(self, x):
        return self.net(x)


class MicroBatches:
    def __init__(self, every, limit):
        self.every, self.limit, self.count = every, limit, 0

    def __call__(self, model, batch, optimizer):
        x, y = batch
        loss = F.cross_entropy(model(x), y)
        (loss / self.every).backward()
        self.count += 1
        if self.count % self.every == 0:
            nn.utils.clip_grad_norm_(model.parameters(), self.limit)
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = EchoNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "step": MicroBatches(EVERY, 0.3),
            "train_loader": DataLoader(echoes(1280, 50), batch_size=MICRO, shuffle=True),
            "val_loader": DataLoader(echoes(400, 51), batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(7):
        model.train()
        mean_loss = np.mean([p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]])
        model.eval()
        with torch.no_grad():
            acc = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch}: loss {mean_loss:.3f}, val accuracy {acc:.3f}")
    print("score:", acc)
