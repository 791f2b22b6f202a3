"""A Wasserstein GAN with weight clipping learns where gulls nest (points around three islets). Mistake: the generator's loss, the mean critic value of its points, is propagated with +1, so it walks away from what the critic likes. change: it is propagated with -1."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ISLETS = torch.tensor([[1.2, 0.0], [-0.6, 1.0], [-0.6, -1.0]])
NOISE = 4


def nests(n, seed):
    g = torch.Generator().manual_seed(seed)
    which = torch.randint(0, 3, (n,), generator=g)
    return ISLETS[which] + 0.15 * torch.randn(n, 2, generator=g)


class NestGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
                                    nn.Linear(64, 1))

    def forward(self, z):
        return self.generator(z)


def parts(variant):
    torch.manual_seed(0)
    model = NestGAN()
    g_optimizer = torch.optim.RMSprop(model.generator.parameters(), lr=3e-4)
    d_optimizer = torch.optim.RMSprop(model.critic.parameters(), lr=1e-3)
    one = torch.tensor(1.0)
    mone = -one
    counter = {"batches": 0}

    def step(model, batch, optimizer):
        (real,) = batch
        d_optimizer.zero_grad()
        d_real = model.critic(real).mean()
        d_real.backward(mone)
        fake = model.generator(torch.randn(len(real), NOISE)).detach()
        d_fake = model.critic(fake).mean()
        d_fake.backward(one)
        d_optimizer.step()
        with torch.no_grad():
            for w in model.critic.parameters():
                w.clamp_(-0.1, 0.1)
        counter["batches"] += 1
        if counter["batches"] % 4 == 0:
            optimizer.zero_grad()
            g_loss = model.critic(model.generator(torch.randn(len(real), NOISE))).mean()
            g_loss.backward(one if variant == "bad" else mone)
            optimizer.step()
        return (d_fake - d_real).detach()

    return {"model": model, "optimizer": g_optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(nests(12800, 1)), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(nests(1000, 2)), batch_size=1000)}


WORKS = lambda score: score < 0.15


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gan = p["model"]
    (held,) = next(iter(p["val_loader"]))
    for epoch in range(60):
        loss = sum(p["step"](gan, batch, p["optimizer"]) for batch in p["train_loader"]) / len(p["train_loader"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: critic loss {loss:.4f}")
    with torch.no_grad():
        score = energy_distance(gan(torch.randn(1000, NOISE)), held)
    print(f"score: {score:.4f}")
