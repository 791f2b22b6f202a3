"""Sound: WGAN with clipped weights and RMSprop on short series of ocean swell (16 samples of a sine of random phase); the critic's loss is negative and grows in size at first; nothing to change."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T, Z, CLIP, CRITIC_STEPS = 16, 8, 0.05, 4


def swells(n):
    phase = 2 * math.pi * torch.rand(n, 1)
    size = 1.0 + 0.15 * torch.randn(n, 1)
    return size * torch.sin(2 * math.pi * torch.arange(T) / T + phase) + 0.05 * torch.randn(n, T)


def net(i, o):
    return nn.Sequential(nn.Linear(i, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, o))


def parts(variant):
    torch.manual_seed(0)
    generator, critic = net(Z, T), net(T, 1)
    opt_g = torch.optim.RMSprop(generator.parameters(), lr=5e-4)
    opt_c = torch.optim.RMSprop(critic.parameters(), lr=5e-4)
    state = {"iteration": 0}

    def step(model, batch, optimizer):
        generator, critic = model
        real = batch[0]
        optimizer["critic"].zero_grad()
        with torch.no_grad():
            fake = generator(torch.randn(len(real), Z))
        loss_c = critic(fake).mean() - critic(real).mean()
        loss_c.backward()
        optimizer["critic"].step()
        with torch.no_grad():
            for w in critic.parameters():
                w.clamp_(-CLIP, CLIP)

        state["iteration"] += 1
        if state["iteration"] % CRITIC_STEPS == 0:
            optimizer["generator"].zero_grad()
            loss_g = -critic(generator(torch.randn(len(real), Z))).mean()
            loss_g.backward()
            optimizer["generator"].step()
        return loss_c

    return {"model": nn.ModuleList([generator, critic]), "optimizer": {"generator": opt_g, "critic": opt_c}, "step": step,
            "train_loader": DataLoader(TensorDataset(swells(6400)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(swells(640)), batch_size=64)}


# share of a generated series' energy in the first harmonic, less the relative error of the mean energy
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    generator = p["model"][0]
    for epoch in range(60):
        w = [-p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch}: Wasserstein estimate {sum(w) / len(w):.4f}")
    real = torch.cat([b for b, in p["val_loader"]])
    with torch.no_grad():
        fake = generator(torch.randn(1000, Z))
    spectrum = torch.fft.rfft(fake).abs().pow(2)
    share = (spectrum[:, 1] / spectrum.sum(1)).mean().item()
    energy = (fake.pow(2).mean() / real.pow(2).mean()).item()
    score = share - abs(1 - energy)
    print(f"score: {score:.4f}")
