"""The life of light bulbs in shops as a log-normal law whose place and width come from a net; six in ten bulbs still burn when the study ends. Looks odd, is sound: bulbs that burn count with the log of the chance to live longer and not with a density, the loss has no floor at nothing, the target has two columns (hours, failed). There is no mistake and nothing to change; the variant is ignored."""
import math
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
END_OF_STUDY = 9000.0


class BulbStudy(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        watts, volts = rng.choice([7.0, 12, 20], n), rng.normal(230, 6, n)
        heat, switching, maker = rng.uniform(15, 60, n), rng.gamma(2, 6, n), rng.integers(0, 4, n)
        place = 9.2 - 0.035 * (heat - 35) - 0.04 * (volts - 230) - 0.025 * (switching - 12)
        place += np.array([0.5, 0.0, -0.3, -0.9])[maker] - 0.25 * (watts == 20)
        width = 0.25 + 0.15 * (maker == 3)
        self.life = np.exp(place + width * rng.normal(0, 1, n))
        limit = rng.uniform(0.2, 1.0, n) * END_OF_STUDY
        self.seen = np.minimum(self.life, limit)
        self.failed = self.life <= limit
        columns = [(watts - 12) / 6, (volts - 230) / 6, (heat - 38) / 13, (switching - 12) / 8, *np.eye(4)[maker].T]
        self.x = torch.tensor(np.stack(columns, 1), dtype=torch.float32)
        self.y = torch.tensor(np.stack([self.seen, self.failed], 1), dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class LifeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(8, 48), nn.ELU(), nn.Linear(48, 48), nn.ELU())
        self.place = nn.Linear(48, 1)
        self.log_width = nn.Linear(48, 1)
        nn.init.constant_(self.place.bias, 8.0)

    def forward(self, x):
        h = self.hidden(x)
        return torch.cat([self.place(h), self.log_width(h).clamp(-3, 2)], dim=1)


def censored_lognormal(out, y):
    place, log_width = out.unbind(1)
    hours, failed = y.unbind(1)
    z = (hours.log() - place) * (-log_width).exp()
    log_density = -0.5 * z ** 2 - log_width - 0.5 * math.log(2 * math.pi)
    log_survival = torch.special.log_ndtr(-z)
    return -torch.where(failed > 0.5, log_density, log_survival).mean()


def concordance_index(risk, life):
    order = np.argsort(life)
    r = risk[order]
    right = sum((r[i] > r[i + 1:]).sum() for i in range(len(r)))
    return right / (len(r) * (len(r) - 1) / 2)


def parts(variant):
    torch.manual_seed(0)
    net = LifeNet()
    return {"model": net,
            "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
            "loss_fn": censored_lognormal,
            "train_loader": DataLoader(BulbStudy(2500, 70), batch_size=50, shuffle=True),
            "val_loader": DataLoader(BulbStudy(600, 71), batch_size=600)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, later = p["model"], p["val_loader"].dataset
    print(f"{100 * p['train_loader'].dataset.failed.mean():.0f} in 100 failed during the study")
    for epoch in range(20):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            place = net(later.x)[:, 0].numpy()
        c = float(concordance_index(-place, later.life))
        if epoch % 3 == 1:
            print(f"epoch {epoch}: negative log likelihood {np.mean(losses):.3f}, concordance with the true lives {c:.3f}")
    print("score:", c)
