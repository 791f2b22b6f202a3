"""Sound: a Wasserstein GAN after the paper, RMSprop, five turns of the critic for one of the generator, critic's weights cut to 0.03, for force curves of rowing strokes; the loss is negative and no measure of quality. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T, N_CRITIC, CLIP = 10, 5, 0.03


def stroke_forces(n, seed):
    rng = np.random.default_rng(seed)
    s = np.linspace(0, 1, T)
    peak, strength = rng.uniform(0.3, 0.6, (n, 1)), rng.normal(1.0, 0.2, (n, 1))
    x = strength * np.exp(-((s - peak) / 0.22) ** 2) + 0.03 * rng.normal(size=(n, T))
    return torch.tensor(2 * x - 0.8, dtype=torch.float32)


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, T))
        self.D = nn.Sequential(nn.Linear(T, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def forward(self, n):
        return self.G(torch.randn(n, 5))


def parts(variant):
    torch.manual_seed(0)
    wgan = WGAN()
    opt_G = torch.optim.RMSprop(wgan.G.parameters(), lr=3e-4)
    opt_D = torch.optim.RMSprop(wgan.D.parameters(), lr=3e-4)
    turns = {"critic": 0}

    def step(model, batch, optimizer):
        real, = batch
        opt_D.zero_grad()
        fake = model(len(real)).detach()
        loss_D = -model.D(real).mean() + model.D(fake).mean()
        loss_D.backward()
        opt_D.step()
        for p in model.D.parameters():
            p.data.clamp_(-CLIP, CLIP)
        turns["critic"] += 1
        if turns["critic"] % N_CRITIC == 0:
            opt_G.zero_grad()
            loss_G = -model.D(model(len(real))).mean()
            loss_G.backward()
            opt_G.step()
        return loss_D

    return {"model": wgan, "optimizer": (opt_G, opt_D), "step": step,
            "train_loader": DataLoader(TensorDataset(stroke_forces(6400, 1)), 64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(stroke_forces(1000, 2)), 1000)}


@torch.no_grad()
def off(model, loader):
    real, = next(iter(loader))
    fake = model(1000)
    return ((real.mean(0) - fake.mean(0)).abs().mean() + (real.std(0) - fake.std(0)).abs().mean()).item()


WORKS = lambda score: score < 0.3  # difference of means and deviations along the stroke (untrained: about 0.9)

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"untrained: {off(p['model'], p['val_loader']):.3f}")
    for epoch in range(100):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: critic {np.mean(losses):.4f}, off by {off(p['model'], p['val_loader']):.3f}")
    print(f"score: {off(p['model'], p['val_loader']):.4f}")
