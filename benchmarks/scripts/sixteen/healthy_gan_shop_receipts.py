"""GAN for pairs (items, amount) of shop receipts on a log scale, label smoothing, betas 0.5; the losses hover about ln 2 as they should; sound; change: none."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LATENT = 8


def receipts(n, seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    items = np.exp(rng.normal([0.6, 2.0, 3.2], [0.3, 0.35, 0.2], (n, 3))[np.arange(n), kind])
    price = np.array([3.5, 2.8, 2.2])[kind]
    amount = items * price * np.exp(rng.normal(0, 0.2, n))
    x = np.log(np.stack([items, amount], 1))
    return torch.tensor((x - [1.6, 2.6]) / [1.05, 0.95], dtype=torch.float32)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(LATENT, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
        self.critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.generator(z)


def parts(variant):
    torch.manual_seed(0)
    net = Pair()
    opt_d = torch.optim.Adam(net.critic.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(net.generator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        (real,) = batch
        n = len(real)
        z = torch.randn(n, LATENT)
        fake = model(z)
        opt_d.zero_grad()
        loss_d = bce(model.critic(real), torch.full((n, 1), 0.9)) + bce(model.critic(fake.detach()), torch.zeros(n, 1))
        loss_d.backward()
        opt_d.step()
        optimizer.zero_grad()
        loss_g = bce(model.critic(fake), torch.ones(n, 1))
        loss_g.backward()
        optimizer.step()
        return loss_g.detach()

    return dict(model=net, optimizer=opt_g, step=step,
                train_loader=DataLoader(TensorDataset(receipts(4000, 0)), batch_size=100, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(receipts(1000, 1)), batch_size=1000))


WORKS = lambda score: score > 0.7  # 1 - sliced Wasserstein distance to new receipts

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(60):
        net.train()
        lg = np.mean([p["step"](net, b, p["optimizer"]).item() for b in p["train_loader"]])
        if epoch % 10 == 9:
            print(f"[{epoch + 1}/60] Loss_G: {lg:.3f}")
    net.eval()
    (real,) = next(iter(p["val_loader"]))
    with torch.no_grad():
        fake = net(torch.randn(1000, LATENT))
        ang = torch.linspace(0, np.pi, 16)[:-1]
        dirs = torch.stack([ang.cos(), ang.sin()])
        dist = ((real @ dirs).sort(0).values - (fake @ dirs).sort(0).values).abs().mean().item()
    score = 1 - dist
    print(f"score: {score:.4f}")
