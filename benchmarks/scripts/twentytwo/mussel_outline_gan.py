"""GAN for mussel shell outlines (radius at 24 angles) with plain MLPs to which the DCGAN weights_init (normal, std 0.02, bias zero) is applied; without batch norm the signal dies over the six layers and the generator puts out one shape for every z; the right change: keep PyTorch's default (or a He) initialisation."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NZ, ANGLES = 6, 24


def outlines(n, seed):
    rng = np.random.default_rng(seed)
    phi = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    stretch = rng.uniform(0.2, 0.6, (n, 1))
    turn = rng.uniform(-0.5, 0.5, (n, 1))
    tip = rng.uniform(0.0, 0.5, (n, 1))
    size = np.exp(rng.normal(0, 0.2, (n, 1)))
    r = size * (1 + stretch * np.cos(2 * (phi - turn)) + tip * np.exp(-2 * (1 - np.cos(phi - turn))))
    return torch.tensor(r + 0.02 * rng.normal(size=(n, ANGLES)), dtype=torch.float32) - 1.1


def mlp(n_in, n_out, width=64, depth=5):
    layers = []
    for i in range(depth):
        layers += [nn.Linear(n_in if i == 0 else width, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(width, n_out))


# from the DCGAN tutorial
def weights_init(m):
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight.data, 0.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


class ShellGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = mlp(NZ, ANGLES)
        self.D = mlp(ANGLES, 1)

    def forward(self, z):
        return self.G(z)


bce = nn.BCEWithLogitsLoss()


def step(model, batch, optimizers):
    real = batch[0]
    opt_d, opt_g = optimizers
    n = len(real)
    ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

    fake = model(torch.randn(n, NZ))
    opt_d.zero_grad()
    loss_d = bce(model.D(real), ones) + bce(model.D(fake.detach()), zeros)
    loss_d.backward()
    opt_d.step()

    opt_g.zero_grad()
    loss_g = bce(model.D(fake), ones)
    loss_g.backward()
    opt_g.step()
    return loss_d.detach() + loss_g.detach()


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(variant):
    torch.manual_seed(0)
    model = ShellGAN()
    if variant == "bad":
        model.apply(weights_init)
    opts = [torch.optim.Adam(model.D.parameters(), lr=2e-4, betas=(0.5, 0.999)),
            torch.optim.Adam(model.G.parameters(), lr=2e-4, betas=(0.5, 0.999))]
    return {"model": model, "optimizer": opts, "step": step,
            "train_loader": DataLoader(TensorDataset(outlines(3200, 0)), batch_size=64, shuffle=True)}


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, test = p["model"], outlines(1000, 1)
    dists = []
    for epoch in range(60):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 4 == 3:
            with torch.no_grad():
                fake = model(torch.randn(1000, NZ))
            dists.append(energy_distance(fake, test))
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f} std {fake.std(0).mean():.3f} energy distance {dists[-1]:.3f}")
    print("score:", np.mean(dists[-4:]))
