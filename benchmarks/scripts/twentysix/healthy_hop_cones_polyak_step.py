"""Sound. Looks odd: plain SGD whose rate is rewritten before every step and jumps by factors of ten between batches. It is the stochastic Polyak step: rate = loss / (c |gradient|^2), bounded above; the classes of hop cones can be told apart fully, so the least loss is 0 as the rule assumes."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
VARIETIES, C, CEILING = 4, 1.0, 10.0


def cones(n, rng):
    """Length, width, bract count, lupulin, alpha and beta acids, oils ... of four varieties."""
    centres = np.random.default_rng(123).normal(0, 1.5, (VARIETIES, 10))
    bend = np.random.default_rng(124).normal(0, 0.4, (10, 10))
    y = rng.integers(0, VARIETIES, n)
    ripeness = rng.uniform(-1, 1, (n, 1))
    x = centres[y] * (1 + 0.3 * ripeness) + rng.normal(0, 0.5, (n, 10))
    return (x + np.tanh(x @ bend)).astype(np.float32), y


def polyak_step(model, batch, optimizer):
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    squared = sum(w.grad.pow(2).sum() for w in model.parameters()).item()
    for group in optimizer.param_groups:
        group["lr"] = min(loss.item() / (C * squared + 1e-12), CEILING)
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(1)
    x, y = cones(2500, np.random.default_rng(40))
    mean, std = x[:2000].mean(0), x[:2000].std(0)
    x, y = torch.from_numpy((x - mean) / std), torch.from_numpy(y)
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, VARIETIES))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1.0), "step": polyak_step,
            "metric": lambda out, t: (out.argmax(1) == t).float().mean(),
            "train_loader": DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2000:], y[2000:]), batch_size=500)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(12):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: loss {loss.item():.4f}, rate {p['optimizer'].param_groups[0]['lr']:.3f}, accuracy {score:.3f}")
    print("score:", score)
