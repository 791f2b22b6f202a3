"""DDPM for outlines of biscuits (sixteen radii); the running product is taken of the betas and not of the alphas, so every noised example is pure noise (bad). change: torch.cumprod(alphas)."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, POINTS = 80, 16


def biscuits(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.linspace(0, 2 * torch.pi, POINTS + 1)[:-1]
    turn = torch.pi * torch.rand(n, 1, generator=g)
    size = 0.8 + 0.3 * torch.rand(n, 1, generator=g)
    return size * torch.cos(2 * (a - turn)) * 1.3 + 0.05 * torch.randn(n, POINTS, generator=g)


class Schedule:
    def __init__(self, variant):
        self.betas = torch.linspace(1e-3, 0.12, STEPS)
        self.alphas = 1.0 - self.betas
        self.alphas_bar = torch.cumprod(self.betas if variant == "bad" else self.alphas, dim=0)

    def noised(self, x, t, noise):
        ab = self.alphas_bar[t][:, None]
        return ab.sqrt() * x + (1 - ab).sqrt() * noise

    @torch.no_grad()
    def sample(self, net, n):
        x = torch.randn(n, POINTS)
        for t in reversed(range(STEPS)):
            eps = net(x, torch.full((n,), t))
            x = (x - self.betas[t] / (1 - self.alphas_bar[t]).sqrt() * eps) / self.alphas[t].sqrt()
            if t > 0:
                x = x + self.betas[t].sqrt() * torch.randn_like(x)
        return x


class Net(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.time = nn.Sequential(nn.Embedding(STEPS, d), nn.SiLU(), nn.Linear(d, d))
        self.l1, self.l2, self.l3 = nn.Linear(POINTS, d), nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Linear(d, POINTS)
        self.act = nn.SiLU()

    def forward(self, x, t):
        h = self.act(self.l1(x) + self.time(t))
        h = h + self.act(self.l2(h))
        h = h + self.act(self.l3(h))
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    net, schedule = Net(), Schedule(variant)

    def training_step(model, batch):
        x = batch[0]
        t = torch.randint(0, STEPS, (len(x),))
        noise = torch.randn_like(x)
        return nn.functional.mse_loss(model(schedule.noised(x, t, noise), t), noise)

    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "training_step": training_step, "schedule": schedule,
            "train_loader": DataLoader(TensorDataset(biscuits(5000, 1)), 100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(biscuits(2000, 2)), 2000)}


WORKS = lambda score: score < 1.0  # mean distance from a drawn biscuit to the nearest real one

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1} loss {sum(losses) / len(losses):.4f}")
    drawn = p["schedule"].sample(net, 500)
    print(f"score: {torch.cdist(drawn, next(iter(p['val_loader']))[0]).min(1).values.mean().item():.4f}")
