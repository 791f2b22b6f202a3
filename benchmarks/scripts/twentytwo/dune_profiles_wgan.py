"""WGAN on 32-point dune profiles; the clamp after the critic's step goes over the parameters of the whole model, the generator's too, so the generator is held within +-0.01 per weight and can hardly move from zero; the right change: clamp the critic's parameters only."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
POINTS, NZ, N_CRITIC, CLIP = 32, 8, 5, 0.01


def profiles(n, seed):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, POINTS)
    crest = rng.uniform(0.45, 0.75, (n, 1))
    height = rng.uniform(0.6, 1.4, (n, 1))
    windward = np.clip(x / crest, 0, 1) ** 1.5
    lee = np.exp(-np.clip(x - crest, 0, None) / 0.1)
    h = height * windward * lee + 0.15 * rng.normal(size=(n, 1)) + 0.02 * rng.normal(size=(n, POINTS))
    return torch.tensor(h - 0.4, dtype=torch.float32)


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NZ, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, POINTS))
        self.critic = nn.Sequential(nn.Linear(POINTS, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def forward(self, z):
        return self.generator(z)


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(variant):
    torch.manual_seed(0)
    model = WGAN()
    opt_g = torch.optim.RMSprop(model.generator.parameters(), lr=3e-4)
    opt_c = torch.optim.RMSprop(model.critic.parameters(), lr=3e-4)
    clipped = list((model if variant == "bad" else model.critic).parameters())
    count = {"it": 0}

    def step(model, batch, optimizers):
        opt_c, opt_g = optimizers
        loss_c = model.critic(model(torch.randn(len(batch), NZ)).detach()).mean() - model.critic(batch).mean()
        opt_c.zero_grad()
        loss_c.backward()
        opt_c.step()
        for w in clipped:
            w.data.clamp_(-CLIP, CLIP)
        count["it"] += 1
        if count["it"] % N_CRITIC == 0:
            loss_g = -model.critic(model(torch.randn(len(batch), NZ))).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        return loss_c.detach()

    return {"model": model, "optimizer": [opt_c, opt_g], "step": step,
            "train_loader": DataLoader(profiles(3200, 0), batch_size=64, shuffle=True)}


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, test = p["model"], profiles(1000, 1)
    dists = []
    for epoch in range(90):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 5 == 4:
            with torch.no_grad():
                dists.append(energy_distance(model(torch.randn(1000, NZ)), test))
            print(f"epoch {epoch + 1}: critic loss {np.mean(losses):.4f}, energy distance {dists[-1]:.4f}")
    print("score:", np.mean(dists[-5:]))
