"""GAN of croissant outlines (points of a thick arc) with two optimizers [judge, maker]; netD.zero_grad() is called before each of the two backward passes, so the step of the judge uses the gradient of the fakes alone. change: clear once, before the pass of the real points."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def croissants(n, seed):
    r = np.random.RandomState(seed)
    a = r.uniform(0.2, np.pi - 0.2, n)
    rad = 1.5 + r.normal(0, 0.12, n)
    return torch.tensor(np.stack([rad * np.cos(a), rad * np.sin(a) - 0.8], 1), dtype=torch.float32)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.netD = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        return self.netG(torch.randn(len(x), 8))


def make_step(variant):
    criterion = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizers):
        opt_d, opt_g = optimizers
        real = batch[0]
        n = len(real)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)
        model.netD.zero_grad()
        err_real = criterion(model.netD(real), ones)
        err_real.backward()
        fake = model.netG(torch.randn(n, 8))
        if variant == "bad":
            model.netD.zero_grad()
        err_fake = criterion(model.netD(fake.detach()), zeros)
        err_fake.backward()
        opt_d.step()
        model.netG.zero_grad()
        err_g = criterion(model.netD(fake), ones)
        err_g.backward()
        opt_g.step()
        return err_g

    return step


def parts(variant):
    torch.manual_seed(0)
    X, V = croissants(4000, 0), croissants(1000, 1)
    model = Pair()
    opts = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (model.netD, model.netG)]
    return {"model": model, "optimizer": opts, "step": make_step(variant),
            "train_loader": DataLoader(TensorDataset(X, X), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(V, V), batch_size=500)}


def coverage(model, loader):
    with torch.no_grad():
        real = torch.cat([b[0] for b in loader])
        fake = model.netG(torch.randn(1000, 8))
        d = torch.cdist(real, fake)
    recall = (d.min(1).values < 0.15).float().mean()
    precision = (d.min(0).values < 0.15).float().mean()
    return min(recall, precision).item()


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    scores = []
    for epoch in range(60):
        errs = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        scores.append(coverage(p["model"], p["val_loader"]))
        if epoch % 5 == 4:
            print(f"[{epoch + 1}/60] Loss_G {np.mean(errs):.3f} coverage {scores[-1]:.3f}")
    score = np.mean(scores[-10:])
    print(f"score: {score:.4f}")
