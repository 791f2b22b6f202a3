"""Differentiable synthesis (DDSP): a network reads the spectrogram of an organ pipe with known pitch and gives loudness, harmonic shares and decay of an additive synthesizer; trained only with a two-resolution spectral loss (magnitude and log magnitude). Unusual: no target for the parameters, phases are random and do not matter; the score is the R2 of the amplitudes it finds."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
RATE, N, HARM = 8000, 1024, 8
TIME = torch.arange(N) / RATE
WINDOWS = {n: torch.hann_window(n) for n in (256, 512)}


def synth(f0, amps, decay, phase):
    k = torch.arange(1, HARM + 1)
    angle = 2 * math.pi * f0[:, None, None] * k[None, :, None] * TIME + phase[..., None]
    return (amps[..., None] * angle.sin()).sum(1) * torch.exp(-decay[:, None] * TIME * 8)


def magnitude(x, n):
    return torch.stft(x, n, hop_length=n // 4, window=WINDOWS[n], return_complex=True).abs() / n * 4


def pipes(n, seed):
    g = torch.Generator().manual_seed(seed)
    f0 = 180 + 260 * torch.rand(n, generator=g)
    shares = torch.distributions.Dirichlet(torch.ones(HARM) * 0.8)
    torch.manual_seed(seed)
    amps = shares.sample((n,)) * (0.4 + 0.6 * torch.rand(n, 1, generator=g))
    decay = torch.rand(n, generator=g) * 2
    phase = torch.rand(n, HARM, generator=g) * 2 * math.pi
    x = synth(f0, amps, decay, phase) + 0.002 * torch.randn(n, N, generator=g)
    return TensorDataset(x, f0, amps)


class PipeReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6 * HARM, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, HARM + 2))

    def forward(self, x, f0):
        mag = magnitude(x, 512)
        # three bins around each harmonic, mean over the first and over the second half of the tone
        centre = (f0[:, None] * torch.arange(1, HARM + 1) / (RATE / 512)).round().long()
        bins = (centre[..., None] + torch.tensor([-1, 0, 1])).flatten(1)
        mag = mag.gather(1, bins[..., None].expand(-1, -1, mag.shape[2]))
        half = mag.shape[2] // 2
        feats = torch.cat([mag[..., :half].mean(2), mag[..., half:].mean(2)], 1)
        out = self.net(((feats + 1e-3).log() + 3) / 2)
        loud = nn.functional.softplus(out[:, :1])
        return loud * out[:, 2:].softmax(1), nn.functional.softplus(out[:, 1])


def spectral_loss(made, real):
    total = 0.0
    for n in WINDOWS:
        a, b = magnitude(made, n), magnitude(real, n)
        total = total + (a - b).abs().mean() * 10 + 0.1 * ((a + 1e-3).log() - (b + 1e-3).log()).abs().mean()
    return total


def training_step(model, batch):
    x, f0, _ = batch
    amps, decay = model(x, f0)
    made = synth(f0, amps, decay, torch.rand(len(x), HARM) * 2 * math.pi)
    return spectral_loss(made, x)


def parts(variant):
    train, val = pipes(1600, 0), pipes(300, 1)
    torch.manual_seed(0)
    model = PipeReader()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=150)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10, eta_min=1e-4)
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        sched.step()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(x, f0)[0] for x, f0, _ in p["val_loader"]])
        true = torch.cat([a for _, _, a in p["val_loader"]])
    r2 = 1 - ((found - true) ** 2).sum() / ((true - true.mean(0)) ** 2).sum()
    print("score:", r2.item())
