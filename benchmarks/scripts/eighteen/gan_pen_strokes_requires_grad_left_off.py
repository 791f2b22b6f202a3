"""GAN for pen strokes of twelve points; the discriminator is frozen for the generator's turn and never thawed, so it learns from the first batch alone (bad). change: requires_grad is switched on again before the discriminator's turn."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

POINTS, Z = 12, 8


def strokes(n, seed):
    """Arcs that begin at the left, of varying bend, as (x, y) of twelve points."""
    g = torch.Generator().manual_seed(seed)
    s = torch.linspace(0, 1, POINTS)
    bend = 1.5 + 0.6 * torch.randn(n, 1, generator=g)
    length = 1.2 + 0.2 * torch.randn(n, 1, generator=g)
    x = length * s - 0.2
    y = bend * s * (1 - s) * 2 + 0.4 * s + 0.03 * torch.randn(n, POINTS, generator=g)
    return torch.cat([x + 0.03 * torch.randn(n, POINTS, generator=g), y], 1)


def set_requires_grad(net, flag):
    for p in net.parameters():
        p.requires_grad = flag


class Strokes(nn.Module):
    def __init__(self):
        super().__init__()
        self.gen = nn.Sequential(nn.Linear(Z, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2 * POINTS))
        self.dis = nn.Sequential(nn.Linear(2 * POINTS, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1))

    def forward(self, z):
        return self.gen(z)


def parts(variant):
    torch.manual_seed(0)
    model = Strokes()
    opt_g = torch.optim.Adam(model.gen.parameters(), lr=3e-4, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(model.dis.parameters(), lr=3e-4, betas=(0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        opt_g, opt_d = optimizer
        real, = batch
        fake = model(torch.randn(len(real), Z))
        yes, no = torch.ones(len(real), 1), torch.zeros(len(real), 1)

        if variant == "fixed":
            set_requires_grad(model.dis, True)
        opt_d.zero_grad()
        loss_d = bce(model.dis(real), yes) + bce(model.dis(fake), no)
        loss_d.backward(retain_graph=True)
        opt_d.step()

        set_requires_grad(model.dis, False)
        opt_g.zero_grad()
        loss_g = bce(model.dis(model(torch.randn(len(real), Z))), yes)
        loss_g.backward()
        opt_g.step()
        return loss_d + loss_g

    return {"model": model, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(TensorDataset(strokes(5000, 1)), 100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(strokes(1000, 2)), 1000)}


@torch.no_grad()
def evaluate(model, loader):
    real, = next(iter(loader))
    fake = model(torch.randn(1000, Z))
    return ((real.mean(0) - fake.mean(0)).abs().mean() + (real.std(0) - fake.std(0)).abs().mean()).item()


WORKS = lambda score: score < 0.2  # difference of the means and of the standard deviations of the points

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(50):
        mean_loss = 0.0
        for batch in p["train_loader"]:
            mean_loss += p["step"](p["model"], batch, p["optimizer"]).item() / len(p["train_loader"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {mean_loss:.3f}, off by {evaluate(p['model'], p['val_loader']):.3f}")
    print(f"score: {evaluate(p['model'], p['val_loader']):.4f}")
