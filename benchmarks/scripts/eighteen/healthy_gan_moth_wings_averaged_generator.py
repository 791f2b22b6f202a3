"""Sound: a GAN for sizes of moths' wings with a running average of the generator, a penalty on the discriminator's gradient at real data (R1) every fourth step, and two rates. change: nothing."""
import copy
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NOISE = 4


def moths(n, seed):
    """Span, breadth, body and weight of three species."""
    g = torch.Generator().manual_seed(seed)
    species = torch.randint(0, 3, (n,), generator=g)
    centre = torch.tensor([[-1.2, -0.6, 0.2, -1.0], [0.0, 1.2, -0.5, 0.3], [1.2, -0.5, 0.4, 1.0]])[species]
    size = 0.25 * torch.randn(n, 1, generator=g)
    return centre + size + 0.15 * torch.randn(n, 4, generator=g)


def mlp(*sizes):
    layers = []
    for i, o in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(i, o), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class WingGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = mlp(NOISE, 96, 96, 4)
        self.d = mlp(4, 96, 96, 1)
        self.g_avg = copy.deepcopy(self.g)
        for p in self.g_avg.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update_average(self, beta=0.995):
        for a, p in zip(self.g_avg.parameters(), self.g.parameters()):
            a.mul_(beta).add_(p, alpha=1 - beta)


def parts(variant):
    torch.manual_seed(0)
    net = WingGAN()
    opt_g = torch.optim.Adam(net.g.parameters(), lr=3e-4, betas=(0.0, 0.99))
    opt_d = torch.optim.Adam(net.d.parameters(), lr=9e-4, betas=(0.0, 0.99))
    state = {"i": 0}

    def step(model, batch, optimizer):
        real = batch[0]
        fake = model.g(torch.randn(len(real), NOISE))
        d_loss = F.softplus(-model.d(real)).mean() + F.softplus(model.d(fake.detach())).mean()
        if state["i"] % 4 == 0:
            r = real.clone().requires_grad_(True)
            grad, = torch.autograd.grad(model.d(r).sum(), r, create_graph=True)
            d_loss = d_loss + 4 * 0.05 * grad.pow(2).sum(1).mean()
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        g_loss = F.softplus(-model.d(fake)).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        model.update_average()
        state["i"] += 1
        return g_loss

    return {"model": net, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(TensorDataset(moths(6000, 1)), 120, shuffle=True),
            "val_loader": DataLoader(TensorDataset(moths(1500, 2)), 1500)}


@torch.no_grad()
def distance(generator, loader):
    real, = next(iter(loader))
    fake = generator(torch.randn(len(real), NOISE))
    w = F.normalize(torch.randn(4, 200, generator=torch.Generator().manual_seed(7)), dim=0)
    return ((real @ w).sort(0).values - (fake @ w).sort(0).values).abs().mean().item()


WORKS = lambda score: score < 0.2  # sliced distance of the averaged generator's moths

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(50):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if (epoch + 1) % 5 == 0:
            print(f"epoch {epoch + 1}: g {sum(losses) / len(losses):.3f}, distance {distance(p['model'].g_avg, p['val_loader']):.3f}")
    print(f"score: {distance(p['model'].g_avg, p['val_loader']):.4f}")
