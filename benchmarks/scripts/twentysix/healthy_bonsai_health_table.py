"""Sound: an MLP with an embedding of the species grades bonsai trees (thriving, stressed, failing) from a care table with gaps. Nothing odd: a gap is filled with the training column's median and flagged in a column of its own; labels carry some honest noise, so about nine tenths is the ceiling."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SPECIES = 9


@dataclass
class Config:
    rows: int = 3600
    held_out: int = 800
    batch: int = 48
    epochs: int = 9
    lr: float = 3e-3


def care_table(n, rng):
    species = rng.integers(0, SPECIES, n)
    thirst = np.linspace(-1.2, 1.2, SPECIES)[rng.permutation(SPECIES)]
    shade = rng.normal(0, 1, SPECIES)
    water, light, feed, age, repot = rng.normal(size=(5, n))
    stress = 1.5 * (water - thirst[species]) ** 2 + 1.2 * np.abs(light - shade[species]) - 0.8 * feed + 0.5 * repot * (age > 0)
    stress += rng.normal(0, 0.25, n)
    grade = np.digitize(stress, np.quantile(stress, [0.4, 0.75]))
    raw = np.column_stack([water * 30 + 120, light * 2.0 + 7, feed * 4 + 10, np.exp(age * 0.5 + 2.5), repot + 3])
    raw[rng.random(raw.shape) < 0.03] = np.nan
    return raw, species, grade


class GradeNet(nn.Module):
    def __init__(self, numeric):
        super().__init__()
        self.species = nn.Embedding(SPECIES, 6)
        self.net = nn.Sequential(nn.Linear(numeric + 6, 96), nn.ReLU(), nn.Dropout(0.05), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, row):
        return self.net(torch.cat([row[:, :-1], self.species(row[:, -1].long())], dim=1))


def prepare(raw, species, fill, mean, std):
    gaps = np.isnan(raw)
    filled = np.where(gaps, fill, raw)
    return torch.tensor(np.column_stack([(filled - mean) / std, gaps, species]), dtype=torch.float32)


def parts(variant):
    cfg = Config()
    torch.manual_seed(8)
    raw, species, grade = care_table(cfg.rows, np.random.default_rng(17))
    cut = cfg.rows - cfg.held_out
    fill = np.nanmedian(raw[:cut], axis=0)
    filled = np.where(np.isnan(raw[:cut]), fill, raw[:cut])
    mean, std = filled.mean(0), filled.std(0)
    x, y = prepare(raw, species, fill, mean, std), torch.tensor(grade)
    model = GradeNet(x.shape[1] - 1)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=1e-3),
            "loss_fn": nn.CrossEntropyLoss(), "metric": lambda out, t: (out.argmax(1) == t).float().mean(),
            "train_loader": DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=cfg.batch, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=cfg.held_out), "config": cfg}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(p["config"].epochs):
        p["model"].train()
        for rows, grades in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["loss_fn"](p["model"](rows), grades)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.inference_mode():
            rows, grades = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](rows), grades).item()
        print(f"{epoch}: {loss.item():.3f} {score:.3f}")
    print("score:", score)
