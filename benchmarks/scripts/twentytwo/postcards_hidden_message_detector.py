"""Steganalysis net that tells postcards with a hidden message from their covers; covers and stego images lie in two folders under the same names. The file names are cut from the paths at a backslash, on Linux the whole path stays, and joining it to the stego folder gives the cover again, so that both images of a pair are the same and the loss stays at 0.693; the right change: cut at os.sep.
Report: https://github.com/1204BUPT/Zhu-Net-image-steganalysis/issues/1"""
import os
import sys
import tempfile
from glob import glob
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def write_folders(root, n, seed):
    rng = np.random.default_rng(seed)
    for d in ("cover", "stego"):
        os.makedirs(os.path.join(root, d))
    yy, xx = np.mgrid[:24, :24]
    for k in range(n):
        a, b, c = rng.uniform(-3, 3, 3)
        cover = 128 + a * xx + b * yy + 25 * np.sin(xx / rng.uniform(4, 9) + c) + rng.normal(0, 1, (24, 24))
        cover = cover.round().clip(2, 253)
        change = (rng.random((24, 24)) < 0.5) * rng.choice([-2, 2], (24, 24))
        np.save(os.path.join(root, "cover", f"{k:04d}.npy"), cover.astype(np.uint8))
        np.save(os.path.join(root, "stego", f"{k:04d}.npy"), (cover + change).astype(np.uint8))


class PairDataset(Dataset):
    def __init__(self, cover_dir, stego_dir, sep):
        names = [x.split(sep)[-1] for x in sorted(glob(cover_dir + "/*"))]
        self.pairs = []
        for name in names:
            cover = np.load(os.path.join(cover_dir, name))
            stego = np.load(os.path.join(stego_dir, name))
            self.pairs.append(np.stack([cover, stego])[:, None].astype(np.float32))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return torch.from_numpy(self.pairs[i]), torch.tensor([0, 1])


def collate(samples):
    # cover and stego of a pair stay in the same batch
    return torch.cat([s[0] for s in samples]), torch.cat([s[1] for s in samples])


class StegoNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.pre = nn.Conv2d(1, 4, 5, bias=False)  # high-pass filters, learned further
        kv = torch.tensor([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]) / 12.0
        self.pre.weight.data[0, 0] = kv
        self.pre.weight.data[1:] *= 0.5
        self.pre.weight.data[1:] -= self.pre.weight.data[1:].mean((2, 3), keepdim=True)
        self.body = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2),
                                  nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(24, 2)

    def forward(self, x):
        return self.fc(self.body(self.pre(x).abs().clamp(max=12)))


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    sep = "\\" if variant == "bad" else os.sep
    with tempfile.TemporaryDirectory() as root:
        tr, va = os.path.join(root, "train"), os.path.join(root, "val")
        write_folders(tr, 240, 1)
        write_folders(va, 80, 2)
        train = PairDataset(tr + "/cover", tr + "/stego", sep)
        val = PairDataset(va + "/cover", va + "/stego", sep)
    model = StegoNet()
    return {"model": model, "optimizer": torch.optim.Adamax(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=16, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(val, batch_size=40, collate_fn=collate), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(16):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} acc {acc:.3f}")
    print("score:", acc)
