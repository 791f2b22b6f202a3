"""A GAN of dart throws on a board: three favourite fields with their own scatter, points in the plane; the score is the energy distance between new and held-out throws. The generator's loss is taken on the fake points that were detached for the discriminator's step, so no gradient reaches the generator and it stays at its start; the right change: judge the undetached points in the generator's step."""
import sys

import torch
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader

torch.set_num_threads(1)
LATENT = 4


def throws(n, gen):
    aim = torch.tensor([[0.0, 1.0], [-0.9, -0.6], [0.8, -0.5]])
    spread = torch.tensor([[0.15, 0.25], [0.25, 0.15], [0.2, 0.2]])
    field = torch.multinomial(torch.tensor([0.5, 0.2, 0.3]), n, replacement=True, generator=gen)
    points = aim[field] + spread[field] * torch.randn(n, 2, generator=gen)
    wild = torch.rand(n, 1, generator=gen) < 0.04
    return torch.where(wild, 1.2 * torch.randn(n, 2, generator=gen), points) + torch.tensor([1.5, 2.0])


def mlp(a, b, hidden=64):
    return nn.Sequential(nn.Linear(a, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1),
                         nn.Linear(hidden, b))


class DartGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = mlp(LATENT, 2)
        self.discriminator = mlp(2, 1)

    def sample(self, n):
        return self.generator(torch.randn(n, LATENT))


def make_step(variant):
    def step(model, real, optimizers):
        opt_g, opt_d = optimizers
        judge = model.discriminator
        fake = model.sample(len(real))
        if variant == "bad":
            fake = fake.detach()

        opt_d.zero_grad()
        d_loss = softplus(-judge(real)).mean() + softplus(judge(fake.detach())).mean()
        d_loss.backward()
        opt_d.step()

        opt_g.zero_grad()
        g_loss = softplus(-judge(fake)).mean()
        g_loss.backward()
        opt_g.step()
        return (d_loss + g_loss).detach()
    return step


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(variant):
    torch.manual_seed(6)
    gen = torch.Generator().manual_seed(6)
    model = DartGAN()
    optimizers = (torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.99)),
                  torch.optim.Adam(model.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.99)))
    return {"model": model, "optimizer": optimizers, "step": make_step(variant),
            "train_loader": DataLoader(throws(5120, gen), batch_size=128, shuffle=True, drop_last=True),
            "held_out": throws(1000, gen)}


WORKS = lambda score: score < 0.15


def main(variant):
    p = parts(variant)
    for evening in range(30):
        for real in p["train_loader"]:
            loss = p["step"](p["model"], real, p["optimizer"])
        if evening % 5 == 4:
            with torch.no_grad():
                score = energy_distance(p["model"].sample(1000), p["held_out"])
            print(f"evening {evening + 1}: losses {loss.item():.3f} energy distance {score:.3f}")
    print("score:", score)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bad")
