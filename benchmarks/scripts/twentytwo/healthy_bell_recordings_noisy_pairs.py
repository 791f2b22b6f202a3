"""Denoising of bell recordings learnt from pairs of noisy takes of the same stroke (Noise2Noise): the target is as noisy as the input; unusual: the loss cannot fall below the variance of the noise (0.36), although the output is close to the clean sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIGMA = 0.6


class Strokes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        t = np.arange(128) / 128
        self.clean = np.zeros((n, 1, 128), np.float32)
        for i in range(n):
            start = rng.uniform(0, 0.4)
            on = t >= start
            for k in (1, 2, 2.4, 3):
                f = rng.uniform(5, 9) * k
                self.clean[i, 0] += on * rng.uniform(0.5, 1.2) / k * np.exp(-(t - start) * 3 * k * on) * np.sin(2 * np.pi * f * (t - start))
        self.rng = rng

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        c = torch.from_numpy(self.clean[i])
        first = c + SIGMA * torch.randn_like(c)
        second = c + SIGMA * torch.randn_like(c)
        return first, second


class Denoiser(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.inp = nn.Conv1d(1, c, 9, padding=4)
        self.mid = nn.ModuleList(nn.Conv1d(c, c, 5, padding=2 * d, dilation=d) for d in (1, 2, 4, 8))
        self.out = nn.Conv1d(c, 1, 9, padding=4)

    def forward(self, x):
        h = torch.relu(self.inp(x))
        for conv in self.mid:
            h = h + torch.relu(conv(h))
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Strokes(1600, 0), batch_size=40, shuffle=True),
            "val_loader": DataLoader(Strokes(200, 1), batch_size=200)}


# fraction of the noise power that is left
WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        net.train()
        losses = []
        for a, b in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(a), b)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {np.mean(losses):.4f} (noise {SIGMA ** 2:.2f})")
    net.eval()
    clean = torch.from_numpy(p["val_loader"].dataset.clean)
    with torch.no_grad():
        noisy = clean + SIGMA * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
        left = ((net(noisy) - clean) ** 2).mean().item() / SIGMA ** 2
    print("score:", left)
