"""Sound: a relativistic GAN for points on two orbits; the generator's loss also looks at real points and both losses rightly stay about 0.69 all the time. change: nothing."""
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NOISE = 6


def orbits(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(n, generator=g)
    radius = torch.where(torch.rand(n, generator=g) < 0.4, 0.5, 1.3) + 0.04 * torch.randn(n, generator=g)
    return TensorDataset(torch.stack([radius * angle.cos(), 0.7 * radius * angle.sin()], 1))


def mlp(i, o, act):
    return nn.Sequential(nn.Linear(i, 96), act, nn.Linear(96, 96), act, nn.Linear(96, o))


class OrbitGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.maker = mlp(NOISE, 2, nn.ReLU())
        self.judge = mlp(2, 1, nn.LeakyReLU(0.2))

    def forward(self, z):
        return self.maker(z)


def parts(variant):
    torch.manual_seed(0)
    gan = OrbitGAN()
    maker_opt = torch.optim.Adam(gan.maker.parameters(), lr=5e-4, betas=(0.0, 0.99))
    judge_opt = torch.optim.Adam(gan.judge.parameters(), lr=5e-4, betas=(0.0, 0.99))

    def step(model, batch, optimizer):
        (real,) = batch
        fake = model(torch.randn(len(real), NOISE))
        near = real.clone().requires_grad_(True)
        on_real = model.judge(near)
        slope = torch.autograd.grad(on_real.sum(), near, create_graph=True)[0].pow(2).sum(1).mean()
        judge_loss = F.softplus(model.judge(fake.detach()) - on_real).mean() + 0.1 * slope
        judge_opt.zero_grad()
        judge_loss.backward()
        judge_opt.step()
        maker_loss = F.softplus(model.judge(real).detach() - model.judge(fake)).mean()
        optimizer.zero_grad()
        maker_loss.backward()
        optimizer.step()
        return maker_loss.detach()

    return {"model": gan, "optimizer": maker_opt, "step": step,
            "train_loader": DataLoader(orbits(9600, 1), batch_size=192, shuffle=True),
            "val_loader": DataLoader(orbits(1000, 2), batch_size=1000)}


WORKS = lambda score: score < 0.03

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    (held,) = next(iter(p["val_loader"]))
    gap = lambda a, b: torch.cdist(a, b).mean().item()
    for epoch in range(40):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            made = p["model"](torch.randn(1000, NOISE))
        score = 2 * gap(made, held) - gap(made, made) - gap(held, held)
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: maker's loss {sum(losses) / len(losses):.4f}, distance {score:.4f}")
    print(f"score: {score:.4f}")
