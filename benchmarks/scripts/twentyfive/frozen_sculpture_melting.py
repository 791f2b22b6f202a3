"""Ice sculptures at a winter fair: from the sculpture and the forecast the network draws the whole melting curve, 48 hourly values of the remaining mass; each recording ends when the watchman leaves and is padded with zeros to 48 hours. The squared error is averaged over the padding too, so the curves are pulled down to zero in the later hours; the right change: multiply by the mask and divide by the number of recorded hours."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
HOURS = 48


def recordings(n, seed):
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        size, salt, sun, wind = rng.uniform(0.4, 2.0), rng.exponential(0.5), rng.uniform(0, 1), rng.gamma(2, 0.4)
        temp, shade = rng.normal(4, 3), float(rng.random() < 0.35)
        rate = 0.012 * np.exp(0.09 * temp + 0.3 * wind - 0.5 * shade) * (1 + 0.4 * salt) / size ** 0.67
        t = np.arange(1, HOURS + 1)
        day = 1 + (1 - shade) * sun * np.clip(np.sin(2 * np.pi * (t - 6) / 24), 0, None)
        mass = 0.25 + 0.75 * np.exp(-np.cumsum(rate * day)) + rng.normal(0, 0.015, HOURS)
        length = int(rng.integers(8, HOURS + 1))
        out.append({"features": np.array([size, salt, sun, wind, temp / 4, shade], dtype="float32"),
                    "mass": mass[:length].astype("float32"), "whole": mass.astype("float32")})
    return out


def collate(items):
    mass, mask = torch.zeros(len(items), HOURS), torch.zeros(len(items), HOURS)
    for i, item in enumerate(items):
        k = len(item["mass"])
        mass[i, :k] = torch.from_numpy(item["mass"])
        mask[i, :k] = 1.0
    return {"features": torch.tensor(np.stack([r["features"] for r in items])), "mass": mass, "mask": mask,
            "whole": torch.tensor(np.stack([r["whole"] for r in items]))}


class CurveNet(nn.Module):
    def __init__(self, width=80):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
                                 nn.Linear(width, HOURS))

    def forward(self, batch):
        return self.net(batch["features"])


def mean_over_all_hours(model, batch):
    error = (model(batch) - batch["mass"]) ** 2
    return error.mean()


def mean_over_recorded_hours(model, batch):
    error = (model(batch) - batch["mass"]) ** 2
    return (error * batch["mask"]).sum() / batch["mask"].sum()


def parts(variant):
    torch.manual_seed(8)
    model = CurveNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": mean_over_all_hours if variant == "bad" else mean_over_recorded_hours,
            "train_loader": DataLoader(recordings(2400, 1), batch_size=60, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(recordings(400, 2), batch_size=400, collate_fn=collate)}


WORKS = lambda score: score < 0.06

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch == 13:
            optimizer.param_groups[0]["lr"] *= 0.2
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    with torch.no_grad():
        batch = next(iter(p["val_loader"]))
        print("score:", (model(batch) - batch["whole"]).abs().mean().item())
