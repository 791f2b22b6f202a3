"""InfoGAN on pollen outlines (radius at 16 angles, two species); the optimizer of the information term holds the head Q alone, so the generator never learns to use its code ("bad"); change: it holds the generator's and Q's parameters."""
import itertools
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

NOISE, CODES = 6, 2


def outlines(n, seed):
    r = np.random.default_rng(seed)
    kind = r.integers(0, 2, n)
    a = np.arange(16) * 2 * np.pi / 16
    lobes = np.array([2, 5])[kind][:, None]
    x = np.cos(lobes * a) * r.normal(0.9, 0.1, (n, 1)) + r.normal(0, 0.3, (n, 16))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(kind)


class InfoGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE + CODES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.body = nn.Sequential(spectral_norm(nn.Linear(16, 64)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(64, 64)), nn.LeakyReLU(0.2))
        self.judge = spectral_norm(nn.Linear(64, 1))
        self.q = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, CODES))

    def generate(self, code):
        return self.generator(torch.cat([torch.randn(len(code), NOISE), F.one_hot(code, CODES).float()], 1))

    def score(self, x):
        return self.judge(self.body(x)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    m = InfoGAN()
    info_params = m.q.parameters() if variant == "bad" else itertools.chain(m.generator.parameters(), m.q.parameters())
    optimizer = {
        "G": torch.optim.Adam(m.generator.parameters(), lr=5e-4, betas=(0.0, 0.9)),
        "D": torch.optim.Adam(itertools.chain(m.body.parameters(), m.judge.parameters()), lr=1e-3, betas=(0.0, 0.9)),
        "info": torch.optim.Adam(info_params, lr=5e-4, betas=(0.0, 0.9))}

    def step(model, batch, optimizer):
        x, _ = batch
        code = torch.randint(CODES, (len(x),))
        optimizer["D"].zero_grad()
        real, fake = model.score(x), model.score(model.generate(code).detach())
        d = F.softplus(-real).mean() + F.softplus(fake).mean()
        d.backward()
        optimizer["D"].step()

        optimizer["G"].zero_grad()
        g = F.softplus(-model.score(model.generate(code))).mean()
        g.backward()
        optimizer["G"].step()

        optimizer["info"].zero_grad()
        info = F.cross_entropy(model.q(model.generate(code)), code)
        info.backward()
        optimizer["info"].step()
        return g.detach() + info.detach()

    return {"model": m, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(*outlines(3000, 0)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*outlines(500, 1)), batch_size=64)}


# agreement of code and species of what is generated, under the best matching (0.5 ... 1)
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    m = p["model"]
    for epoch in range(40):
        values = [p["step"](m, b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} generator + info {np.mean(values):.3f}")
    x, kind = p["val_loader"].dataset.tensors
    centres = torch.stack([x[kind == k].mean(0) for k in range(2)])
    table = torch.zeros(CODES, 2)
    with torch.no_grad():
        for c in range(CODES):
            which = torch.cdist(m.generate(torch.full((500,), c)), centres).argmin(1)
            table[c] = torch.bincount(which, minlength=2) / 500
    print(table)
    # the best one-to-one matching of codes and species
    score = max(sum(table[i, j].item() for i, j in enumerate(perm)) / 2 for perm in itertools.permutations(range(2)))
    print(f"score: {score:.4f}")
