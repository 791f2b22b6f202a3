"""Sound. Looks odd: each sample lies in four training windows, and errors at the window edges hardly count in the loss. The denoiser's windows are later laid over one another with Hann weights (overlap-add), where edges count hardly either; so the loss is weighted just as the result is put together. Training and held-out windows come from different patients. Score: gain in signal-to-noise ratio (dB) of the reassembled recordings."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
WINDOW, HOP, LENGTH, RATE = 128, 32, 1024, 500
HANN = torch.hann_window(WINDOW, periodic=True)


def recordings(patients, rng):
    t = np.arange(LENGTH) / RATE
    clean, noisy = [], []
    for _ in range(patients):
        beat, split, pitch = rng.uniform(0.6, 1.0), rng.uniform(0.25, 0.35), rng.uniform(35, 60)
        sound = np.zeros(LENGTH)
        for start in np.arange(-rng.uniform(0, beat), t[-1], beat):
            for onset, loud, f in ((start, 1.0, pitch), (start + split, 0.7, pitch * 1.3)):
                since = np.maximum(t - onset, 0)
                sound += loud * np.sin(2 * np.pi * f * since) * np.exp(-since / 0.03) * (t >= onset)
        hum = rng.uniform(0.1, 0.3) * np.sin(2 * np.pi * 100 * t + rng.uniform(0, 6))
        clean.append(sound)
        noisy.append(sound + hum + rng.normal(0, 0.25, LENGTH))
    return torch.tensor(np.stack(noisy), dtype=torch.float32), torch.tensor(np.stack(clean), dtype=torch.float32)


def windows(signals):
    return signals.unfold(1, WINDOW, HOP)


def overlap_add(pieces):
    """(patients, windows, WINDOW) back to (patients, LENGTH)."""
    total, weight = torch.zeros(len(pieces), LENGTH), torch.zeros(LENGTH)
    for i in range(pieces.shape[1]):
        at = slice(i * HOP, i * HOP + WINDOW)
        total[:, at] += HANN * pieces[:, i]
        weight[at] += HANN
    return total / weight.clamp_min(1e-6)


class Denoiser(nn.Module):
    def __init__(self, channels=20):
        super().__init__()
        self.noise = nn.Sequential(nn.Conv1d(1, channels, 9, padding=4), nn.ReLU(), nn.Conv1d(channels, channels, 9, padding=8, dilation=2), nn.ReLU(),
                                   nn.Conv1d(channels, channels, 9, padding=16, dilation=4), nn.ReLU(), nn.Conv1d(channels, 1, 5, padding=2))

    def forward(self, x):
        return x - self.noise(x[:, None]).squeeze(1)


def hann_weighted_mse(outputs, targets):
    return (HANN * (outputs - targets) ** 2).mean() / HANN.mean()


def parts(variant):
    torch.manual_seed(9)
    rng = np.random.default_rng(9)
    train, val = recordings(60, rng), recordings(12, rng)
    flat = lambda pair: TensorDataset(*(windows(s).flatten(0, 1) for s in pair))
    model = Denoiser()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": hann_weighted_mse, "metric": hann_weighted_mse,
            "train_loader": DataLoader(flat(train), batch_size=48, shuffle=True),
            "val_loader": DataLoader(flat(val), batch_size=400), "held_out": val}


def gain_db(model, noisy, clean):
    with torch.no_grad():
        pieces = windows(noisy)
        restored = overlap_add(model(pieces.flatten(0, 1)).view_as(pieces))
    inner = slice(HOP, LENGTH - HOP)
    error = lambda s: (s - clean)[:, inner].pow(2).mean()
    return 10 * torch.log10(error(noisy) / error(restored)).item()


WORKS = lambda score: score > 5

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(6):
        for noisy, clean in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](noisy), clean)
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.4f}, gain {gain_db(p['model'], *p['held_out']):.2f} dB")
    print("score:", gain_db(p["model"], *p["held_out"]))
