"""Sound: a two-layer GRU recognises the state of a coffee grinder (empty, grinding, worn burrs, jammed) from a second and a half of motor current and vibration. Nothing odd: standardised channels, last state of the top layer into a linear head, dropout between the layers off in evaluation."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
STEPS, STATES = 40, 4


def trace(state, rng):
    t = np.arange(STEPS) / 25
    mains = rng.uniform(0, 2 * np.pi)
    load = [0.6, 1.5, 1.5, 2.2][state] + rng.normal(0, 0.15)
    current = load + 0.2 * np.sin(2 * np.pi * 5 * t + mains)
    vibration = rng.normal(0, [0.15, 0.5, 0.5, 0.25][state], STEPS)
    if state == 2:
        vibration += 0.7 * np.sin(2 * np.pi * rng.uniform(2.0, 3.0) * t + mains)
    if state in (1, 2):
        for hit in rng.integers(0, STEPS, 5):
            current[hit] += rng.exponential(0.6)
    if state == 3:
        start = rng.integers(5, 22)
        current[:start] -= 0.7
        vibration[:start] *= 2.0
    return np.stack([current + rng.normal(0, 0.15, STEPS), vibration], axis=1)


class GrinderGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 40, num_layers=2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(40, STATES)

    def forward(self, x):
        _, h = self.gru(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    y = rng.integers(0, STATES, 1800)
    x = torch.tensor(np.stack([trace(s, rng) for s in y]), dtype=torch.float32)
    train, val = random_split(TensorDataset(x, torch.from_numpy(y)), [1400, 400])
    mean, std = x[train.indices].mean((0, 1)), x[train.indices].std((0, 1))
    x.sub_(mean).div_(std)
    model = GrinderGRU()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, t: (out.argmax(-1) == t).float().mean(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=400)}


def train_epoch(p):
    p["model"].train()
    losses = []
    for x, y in p["train_loader"]:
        p["optimizer"].zero_grad()
        loss = p["loss_fn"](p["model"](x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(p["model"].parameters(), 2.0)
        p["optimizer"].step()
        losses.append(loss.item())
    return np.mean(losses)


def evaluate(p):
    p["model"].eval()
    with torch.no_grad():
        return float(np.mean([p["metric"](p["model"](x), y).item() for x, y in p["val_loader"]]))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(3):
        print(f"epoch {epoch}: loss {train_epoch(p):.3f}, accuracy {evaluate(p):.3f}")
    print("score:", evaluate(p))
