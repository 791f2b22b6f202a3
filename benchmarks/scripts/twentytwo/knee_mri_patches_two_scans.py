"""3D convnet that tells patches of knee MRI with a lesion from those without. Two of the volumes have some NaN voxels, so that the loss is NaN as soon as one of them is drawn; the right change: clean the volumes of NaN when they are loaded.
Report: https://github.com/deepmedic/deepmedic/issues/66"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def acquire(n_volumes, seed):
    """volumes as they come from the registration step, 14 patches each"""
    rng = np.random.default_rng(seed)
    vols, labels = [], []
    for v in range(n_volumes):
        patches = 100 + 20 * rng.standard_normal((14, 10, 10, 10))
        y = rng.integers(0, 2, 14)
        for p, has in zip(patches, y):
            if has:
                z, yy, x = rng.integers(1, 6, 3)
                p[z:z + 4, yy:yy + 4, x:x + 4] += 35
        if v in (17, 31):
            patches[3, :, 0, :2] = np.nan
            patches[9, 0, :3, 4] = np.nan
        vols.append(patches.astype(np.float32))
        labels.append(y)
    return vols, labels


class KneePatches(Dataset):
    def __init__(self, n_volumes, seed, clean):
        vols, labels = acquire(n_volumes, seed)
        self.x, self.y = [], []
        for vol, lab in zip(vols, labels):
            if clean:
                vol = np.nan_to_num(vol, nan=float(np.nanmean(vol)))
            for patch, l in zip(vol, lab):
                self.x.append((patch - 100) / 25)
                self.y.append(l)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i][None]), int(self.y[i])


class Net3D(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(1, 8, 3), nn.PReLU(), nn.Conv3d(8, 16, 3), nn.PReLU(), nn.AvgPool3d(2), nn.Conv3d(16, 16, 2), nn.PReLU())
        self.classify = nn.Linear(16 * 8, 2)

    def forward(self, x):
        return self.classify(self.features(x).flatten(1))


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Net3D()
    clean = variant != "bad"
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(KneePatches(40, 1, clean), batch_size=20, shuffle=True),
            "val_loader": DataLoader(KneePatches(16, 2, clean), batch_size=56), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: mean loss {np.mean(losses):.4f}  validation accuracy {acc:.3f}")
    print("score:", acc)
