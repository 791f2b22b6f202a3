"""1-d CNN that gives the pitch (log2, standardised) of a note from its 16-bit samples; bad: the samples go in as they are, up to 25,000, and SGD is at NaN within a few steps; change: they are divided by 32768."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RATE, SAMPLES = 4000, 160


def record(n, seed):
    """Notes as a sound card would give them: int16."""
    rng = np.random.default_rng(seed)
    octave = rng.uniform(0, 2, n)
    hz = 110 * 2 ** octave
    t = np.arange(SAMPLES) / RATE
    arg = 2 * np.pi * hz[:, None] * t + rng.uniform(0, 2 * np.pi, (n, 1))
    tone = np.sin(arg) + 0.3 * np.sin(2 * arg)
    volume = rng.uniform(12000, 19000, (n, 1))
    pcm = volume * tone + 200 * rng.standard_normal(tone.shape)
    return pcm.astype(np.int16), ((octave - 1) / 0.577).astype(np.float32)


def as_dataset(pcm, pitch, full_scale):
    x = torch.from_numpy(pcm.astype(np.float32) / full_scale)
    return TensorDataset(x.unsqueeze(1), torch.from_numpy(pitch).unsqueeze(1))


def build():
    return nn.Sequential(
        nn.Conv1d(1, 16, 15, stride=2, padding=7), nn.LeakyReLU(0.1),
        nn.Conv1d(16, 32, 9, stride=2, padding=4), nn.LeakyReLU(0.1),
        nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.LeakyReLU(0.1),
        nn.AdaptiveMaxPool1d(4), nn.Flatten(),
        nn.Linear(128, 32), nn.LeakyReLU(0.1), nn.Linear(32, 1))


def parts(variant):
    torch.manual_seed(0)
    full_scale = 1.0 if variant == "bad" else 32768.0
    train, val = as_dataset(*record(1500, 1), full_scale), as_dataset(*record(300, 2), full_scale)
    model = build()
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        epoch_loss = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch + 1}: mse {epoch_loss:.4f}")
    model.eval()
    with torch.no_grad():
        err = torch.cat([(model(x) - y) ** 2 for x, y in p["val_loader"]]).mean()
    var = p["val_loader"].dataset.tensors[1].var()
    score = 1 - (err / var).item()
    print(f"score: {score:.4f}")
