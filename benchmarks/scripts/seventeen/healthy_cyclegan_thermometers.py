"""Sound: CycleGAN between unpaired readings of two kinds of weather box (three columns), with identity loss and a pool of old fakes for the judges; nothing to change."""
import random
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Unpaired(Dataset):
    def __init__(self, left, right):
        self.left, self.right = left, right

    def __len__(self):
        return len(self.left)

    def __getitem__(self, i):
        return {"A": self.left[i], "B": self.right[(i * 7 + 3) % len(self.right)]}


class Pool:
    def __init__(self, size=500):
        self.size, self.items = size, []

    def query(self, fakes):
        out = []
        for f in fakes.detach():
            if len(self.items) < self.size:
                self.items.append(f)
                out.append(f)
            elif random.random() < 0.5:
                k = random.randrange(self.size)
                out.append(self.items[k])
                self.items[k] = f
            else:
                out.append(f)
        return torch.stack(out)


def translator():
    return nn.Sequential(nn.Linear(3, 48), nn.LeakyReLU(0.1), nn.Linear(48, 48), nn.LeakyReLU(0.1), nn.Linear(48, 3))


def judge():
    return nn.Sequential(nn.Linear(3, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def weather(n, rng):
    summer = rng.random(n) < 0.65
    base = np.where(summer[:, None], [1.0, -0.5, 0.2], [-1.0, 0.9, -0.6])
    return base + rng.normal(0, 0.25, (n, 3))


def other_box(x):
    return 0.8 * x + np.array([0.7, 0.5, -0.4])


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    rng = np.random.default_rng(8)
    f32 = lambda u: torch.tensor(u, dtype=torch.float32)
    va = weather(400, rng)
    train = Unpaired(f32(weather(2000, rng)), f32(other_box(weather(2000, rng))))
    # same order on both sides in validation, so that a pair is the same weather
    val = [{"A": f32(va), "B": f32(other_box(va))}]
    m = nn.ModuleDict({"AB": translator(), "BA": translator(), "DA": judge(), "DB": judge()})
    opt = {"G": torch.optim.Adam([*m["AB"].parameters(), *m["BA"].parameters()], lr=5e-4, betas=(0.5, 0.999)),
           "DA": torch.optim.Adam(m["DA"].parameters(), lr=5e-4, betas=(0.5, 0.999)),
           "DB": torch.optim.Adam(m["DB"].parameters(), lr=5e-4, betas=(0.5, 0.999))}
    pools = {"DA": Pool(), "DB": Pool()}
    gan, l1 = nn.MSELoss(), nn.L1Loss()

    def step(model, batch, optimizer):
        a, b = batch["A"], batch["B"]
        one, zero = torch.ones(len(a), 1), torch.zeros(len(a), 1)
        optimizer["G"].zero_grad()
        fake_b, fake_a = model["AB"](a), model["BA"](b)
        loss = (gan(model["DB"](fake_b), one) + gan(model["DA"](fake_a), one)
                + 3 * (l1(model["BA"](fake_b), a) + l1(model["AB"](fake_a), b))
                + 0.5 * (l1(model["AB"](b), b) + l1(model["BA"](a), a)))
        loss.backward()
        optimizer["G"].step()
        for name, real, fake in (("DA", a, fake_a), ("DB", b, fake_b)):
            optimizer[name].zero_grad()
            d = 0.5 * (gan(model[name](real), one) + gan(model[name](pools[name].query(fake)), zero))
            d.backward()
            optimizer[name].step()
        return loss.detach()

    return {"model": m, "optimizer": opt, "step": step, "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": val}


# mean absolute error of both translations on the same weather
WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    m = p["model"]
    for epoch in range(40):
        g = [p["step"](m, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch} G {np.mean(g):.4f}")
    v = p["val_loader"][0]
    with torch.no_grad():
        score = 0.5 * ((m["AB"](v["A"]) - v["B"]).abs().mean() + (m["BA"](v["B"]) - v["A"]).abs().mean()).item()
    print(f"score: {score:.4f}")
