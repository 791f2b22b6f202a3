"""Height of a terrain from a place (x, y) by a coordinate network with a skip connection, in the form of the NeRF code; bad: pts_linears is a plain list, so that the eight hidden layers are in no module and only the output layer is trained; change: nn.ModuleList around the list."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def terrain(n, seed):
    rng = np.random.default_rng(7)
    centres, widths, heights = rng.uniform(-1, 1, (24, 2)), rng.uniform(0.12, 0.3, 24), rng.normal(0, 1, 24)
    xy = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    d2 = ((xy[:, None] - centres[None]) ** 2).sum(-1)
    z = (heights * np.exp(-d2 / (2 * widths ** 2))).sum(1)
    return torch.tensor(xy, dtype=torch.float32), torch.tensor(z[:, None] / 0.5, dtype=torch.float32)


class Embedder:
    def __init__(self, num_freqs):
        self.freq_bands = 2.0 ** torch.arange(num_freqs)

    def embed(self, x):
        return torch.cat([x] + [fn(x * f) for f in self.freq_bands for fn in (torch.sin, torch.cos)], -1)


class HeightField(nn.Module):
    def __init__(self, D=8, W=48, num_freqs=2, skips=(4,), module_list=True):
        super().__init__()
        self.embedder = Embedder(num_freqs)
        input_ch = 2 * (1 + 2 * num_freqs)
        self.skips = skips
        pts_linears = [nn.Linear(input_ch, W)] + [
            nn.Linear(W, W) if i not in self.skips else nn.Linear(W + input_ch, W) for i in range(D - 1)]
        self.pts_linears = nn.ModuleList(pts_linears) if module_list else pts_linears
        self.output_linear = nn.Linear(W, 1)

    def forward(self, x):
        input_pts = self.embedder.embed(x)
        h = input_pts
        for i, l in enumerate(self.pts_linears):
            h = F.relu(l(h))
            if i in self.skips:
                h = torch.cat([input_pts, h], -1)
        return self.output_linear(h)


def img2mse(x, y):
    return torch.mean((x - y) ** 2)


def parts(variant):
    torch.manual_seed(0)
    model = HeightField(module_list=variant != "bad")
    return {
        "model": model,
        "loss_fn": img2mse,
        "optimizer": torch.optim.Adam(params=model.parameters(), lr=2e-3, betas=(0.9, 0.999)),
        "train_loader": DataLoader(TensorDataset(*terrain(4096, 1)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*terrain(1024, 2)), batch_size=256),
    }


WORKS = lambda score: score > 0.8


def r2(model, loader):
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    pred, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return 1 - (img2mse(pred, y) / img2mse(y.mean(), y)).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    global_step = 0
    for epoch in range(15):
        for pts, target_s in p["train_loader"]:
            height = model(pts)
            optimizer.zero_grad()
            loss = p["loss_fn"](height, target_s)
            loss.backward()
            optimizer.step()
            global_step += 1
        print(f"[TRAIN] Iter: {global_step} Loss: {loss.item():.4f} R2: {r2(model, p['val_loader']):.3f}")
    score = r2(model, p["val_loader"])
    print(f"score: {score:.4f}")
