"""Sound: a GAN imitates the joint distribution of girth and weight of tulip bulbs of two varieties. Nothing odd: non-saturating loss, the fakes are detached in the judge's turn and not in the generator's, each net has its own optimizer; the losses hover instead of falling, as in every GAN. The score is the sliced Wasserstein distance to held-out bulbs (lower is better)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE, EPOCHS = 4, 35


def bulbs(n, rng):
    variety = rng.random(n) < 0.4
    girth = np.where(variety, rng.normal(14.5, 0.9, n), rng.normal(10.5, 1.1, n))
    weight = 0.022 * girth ** 2.9 * np.exp(rng.normal(0, 0.09, n)) * np.where(variety, 0.85, 1.0)
    return np.column_stack([girth, weight]).astype(np.float32)


class BulbGAN(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        self.judge = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, z):
        return self.generator(z)


def make_step(judge_optimizer):
    def step(model, batch, optimizer):
        real = batch[0]
        fake = model.generator(torch.randn(len(real), NOISE))
        on_real, on_fake = model.judge(real), model.judge(fake.detach())
        judge_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        judge_optimizer.zero_grad()
        judge_loss.backward()
        judge_optimizer.step()

        fake = model.generator(torch.randn(len(real), NOISE))
        generator_loss = F.softplus(-model.judge(fake)).mean()
        optimizer.zero_grad()
        generator_loss.backward()
        optimizer.step()
        return generator_loss.detach()
    return step


def sliced_distance(a, b, directions=64):
    angle = torch.linspace(0, np.pi, directions + 1)[:-1]
    w = torch.stack([angle.cos(), angle.sin()])
    return ((a @ w).sort(0).values - (b @ w).sort(0).values).abs().mean()


def parts(variant):
    torch.manual_seed(5)
    x = bulbs(4000, np.random.default_rng(30))
    mean, std = x[:3000].mean(0), x[:3000].std(0)
    x = torch.from_numpy((x - mean) / std)
    model = BulbGAN()
    judge_optimizer = torch.optim.Adam(model.judge.parameters(), lr=1e-3, betas=(0.5, 0.9))
    return {"model": model, "optimizer": torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.9)),
            "step": make_step(judge_optimizer), "metric": sliced_distance,
            "train_loader": DataLoader(TensorDataset(x[:3000]), batch_size=125, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(torch.randn(1000, NOISE), x[3000:]), batch_size=1250)}


WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(EPOCHS):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            z, real = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](z), real).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: generator {loss.item():.3f}, distance {score:.3f}")
    print("score:", score)
