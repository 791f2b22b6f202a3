"""A GAN for growth curves of kelp (24 points each); bad: the discriminator, with one output, ends in nn.Softmax(dim=1), which is always 1, so neither net gets a gradient; change: nn.Sigmoid."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

Z = 8


def curves(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 24)
    start = 0.3 + 0.3 * torch.rand(n, 1, generator=g)
    height = 0.6 + 0.35 * torch.rand(n, 1, generator=g)
    return height * torch.sigmoid(12 * (t - start)) * 2 - 1 + 0.02 * torch.randn(n, 24, generator=g)


class GAN(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(Z, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 24), nn.Tanh())
        self.discriminator = nn.Sequential(nn.Linear(24, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), last)

    def forward(self, z):
        return self.generator(z)


criterion = nn.BCELoss()


def step(model, batch, optimizer):
    real, = batch
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    fake = model(torch.randn(len(real), Z))

    optimizer.zero_grad(set_to_none=True)
    loss_d = criterion(model.discriminator(real), ones) + criterion(model.discriminator(fake.detach()), zeros)
    loss_d.backward()
    optimizer.step()

    optimizer.zero_grad(set_to_none=True)
    loss_g = criterion(model.discriminator(fake), ones)
    loss_g.backward()
    model.discriminator.zero_grad(set_to_none=True)
    optimizer.step()
    step.last = loss_d.item(), loss_g.item()
    return loss_g


def parts(variant):
    torch.manual_seed(0)
    model = GAN(nn.Softmax(dim=1) if variant == "bad" else nn.Sigmoid())
    optimizer = torch.optim.Adam([{"params": model.generator.parameters()}, {"params": model.discriminator.parameters()}], lr=1e-3, betas=(0.5, 0.999))
    return dict(model=model, optimizer=optimizer, step=step,
                train_loader=DataLoader(TensorDataset(curves(2048, 1)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(curves(512, 2)), batch_size=512))


# 1 is a perfect match of the mean curve and of the spread around it
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gan = p["model"]
    for epoch in range(60):
        for batch in p["train_loader"]:
            p["step"](gan, batch, p["optimizer"])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: D {step.last[0]:.4f}  G {step.last[1]:.4f}")
    with torch.no_grad():
        real, = next(iter(p["val_loader"]))
        made = gan(torch.randn(512, Z))
    gap = (made.mean(0) - real.mean(0)).abs().mean() / real.std() + (made.std(0) - real.std(0)).abs().mean() / real.std(0).mean()
    score = 1 - gap.item()
    print(f"score: {score:.4f}")
