"""CycleGAN between the unpaired readings of two scanners (4 channels); the generators' optimizer chains G_ab twice and never holds G_ba ("bad"); change: chain G_ab and G_ba."""
import itertools
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset



class Residual(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, x):
        return x + self.layers(x)


def critic():
    return nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def tissue(n, rng):
    kind = rng.integers(0, 3, n)
    return np.array([[0.2, 1, -0.5, 0], [1.2, -0.3, 0.4, 0.8], [-1, 0, 0.9, -0.6]])[kind] + rng.normal(0, 0.2, (n, 4))


def second_scanner(x):
    return 1.4 * x + np.array([1.0, -0.8, 0.6, 1.2])


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    a = tissue(2000, rng)
    b = second_scanner(tissue(2000, rng))
    va = tissue(400, rng)
    as_set = lambda u, v: TensorDataset(torch.tensor(u, dtype=torch.float32), torch.tensor(v, dtype=torch.float32))

    nets = nn.ModuleDict({"G_ab": Residual(), "G_ba": Residual(), "D_a": critic(), "D_b": critic()})
    second = nets["G_ab"] if variant == "bad" else nets["G_ba"]
    optimizer = {
        "G": torch.optim.Adam(itertools.chain(nets["G_ab"].parameters(), second.parameters()), lr=5e-4, betas=(0.5, 0.999)),
        "D": torch.optim.Adam(itertools.chain(nets["D_a"].parameters(), nets["D_b"].parameters()), lr=5e-4, betas=(0.5, 0.999))}
    mse, l1 = nn.MSELoss(), nn.L1Loss()

    def adv(pred, real):
        return mse(pred, torch.full_like(pred, 1.0 if real else 0.0))

    def step(model, batch, optimizer):
        real_a, real_b = batch
        fake_b, fake_a = model["G_ab"](real_a), model["G_ba"](real_b)
        loss_cycle = l1(model["G_ba"](fake_b), real_a) + l1(model["G_ab"](fake_a), real_b)
        loss_gan = adv(model["D_b"](fake_b), True) + adv(model["D_a"](fake_a), True)
        loss_g = loss_gan + 2.0 * loss_cycle
        optimizer["G"].zero_grad()
        loss_g.backward()
        optimizer["G"].step()

        optimizer["D"].zero_grad()
        loss_d = 0.5 * (adv(model["D_a"](real_a), True) + adv(model["D_a"](fake_a.detach()), False)
                        + adv(model["D_b"](real_b), True) + adv(model["D_b"](fake_b.detach()), False))
        loss_d.backward()
        optimizer["D"].step()
        return loss_g.detach()

    return {"model": nets, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(as_set(a, b), batch_size=50, shuffle=True),
            "val_loader": DataLoader(as_set(va, second_scanner(va)), batch_size=50)}


# mean absolute error of both translations against the true counterpart (pairs only in validation)
WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    nets = p["model"]
    for epoch in range(50):
        g = [p["step"](nets, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: generators {np.mean(g):.4f}")
    a, b = p["val_loader"].dataset.tensors
    with torch.no_grad():
        score = 0.5 * ((nets["G_ab"](a) - b).abs().mean() + (nets["G_ba"](b) - a).abs().mean()).item()
    print(f"score: {score:.4f}")
