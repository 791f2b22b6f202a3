"""Digits of house plates and whether the plate is reflective (brightness), with a net whose global context features are divided by their mean square. The mean is taken over the whole batch and not over each image, so the result of an image hangs on the others of its batch: good with the training batches of 32, much worse when the images are read one by one; the right change: the mean over channels and positions of each image.
Report: https://github.com/xuexingyu24/License_Plate_Detection_Pytorch/issues/22"""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Plates(Dataset):
    """digits 0 to 4 on matt and on reflective plates: ten classes"""

    def __init__(self, images, labels, seed):
        rng = np.random.default_rng(seed)
        reflective = rng.integers(0, 2, len(images))
        light = np.where(reflective == 1, rng.uniform(1.4, 2.4, len(images)), rng.uniform(0.4, 0.8, len(images)))
        self.x = torch.tensor(images[:, None] / 16 * light[:, None, None, None], dtype=torch.float32)
        self.y = torch.tensor(labels + 5 * reflective)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class PlateNet(nn.Module):
    def __init__(self, dims=None):
        super().__init__()
        self.dims = dims
        self.stage1 = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.ReLU())
        self.stage2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.ReLU())
        self.pool = nn.AvgPool2d(2)
        self.container = nn.Sequential(nn.Flatten(), nn.Linear((16 + 32 + 1) * 16, 64), nn.ReLU(), nn.Linear(64, 10))

    def scale(self, f):
        f_pow = torch.pow(f, 2)
        f_mean = torch.mean(f_pow) if self.dims is None else torch.mean(f_pow, dim=self.dims, keepdim=True)
        return torch.div(f, f_mean + 1e-4)

    def forward(self, x):
        a = self.stage1(x)
        b = self.stage2(a)
        context = [self.scale(f) for f in (self.pool(x), self.pool(a), b)]
        return self.container(torch.cat(context, 1))


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    idx = np.random.default_rng(0).permutation(np.flatnonzero(d.target < 5))
    tr, va = idx[:650], idx[650:]
    model = PlateNet(None if variant == "bad" else (1, 2, 3))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Plates(d.images[tr], d.target[tr], 1), batch_size=32, shuffle=True, drop_last=True),
            # plates come in one at a time
            "val_loader": DataLoader(Plates(d.images[va], d.target[va], 2), batch_size=1), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    lprnet = p["model"]
    for epoch in range(50):
        lprnet.train()
        acc = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = lprnet(x)
            loss = p["loss_fn"](out, y)
            loss.backward()
            p["optimizer"].step()
            acc.append(accuracy(out, y))
        lprnet.eval()
        with torch.no_grad():
            val = np.mean([accuracy(lprnet(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: train acc {np.mean(acc):.3f}, val acc {val:.3f}")
    print("score:", val)
