"""Few-shot transfer: a backbone trained on seven digits (DataParallel style), frozen, with a linear head for the other three; mistake: the checkpoint's keys start with "module." and strict=False loads none of them; change: the prefix is stripped."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

SHOTS = 40
WORKS = lambda s: s > 0.65


def pasted(classes, repeat, seed, part):
    """digits of `classes` at random places of a cluttered 14x14 canvas"""
    d = load_digits()
    rng = np.random.default_rng(seed)
    keep = [i for i in range(len(d.target)) if d.target[i] in classes and (i % 3 == 0) == (part == "test")]
    xs, ys = [], []
    for i in np.repeat(keep, repeat):
        canvas = rng.normal(0, 0.1, (14, 14))
        for _ in range(1):                                   # clutter: bits of other digits
            j, (r, c) = rng.integers(len(d.images)), rng.integers(0, 11, 2)
            canvas[r:r + 4, c:c + 4] += d.images[j][2:6, 2:6] / 16
        r, c = rng.integers(0, 7, 2)
        canvas[r:r + 8, c:c + 8] = d.images[i] / 16
        xs.append(canvas)
        ys.append(classes.index(d.target[i]))
    order = rng.permutation(len(ys))
    return torch.tensor(np.array(xs)[order], dtype=torch.float32)[:, None], torch.tensor(ys)[order]


class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        chans = [1, 32, 48, 64]
        blocks = []
        for i, o in zip(chans, chans[1:]):
            blocks += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
            if o != 32:
                blocks.append(nn.MaxPool2d(2))
        self.backbone = nn.Sequential(*blocks, nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(128, n_classes)
        self.frozen = False

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            self.backbone.eval()                             # its batch norms stay as they were
        return self

    def forward(self, x):
        return self.fc(self.backbone(x))


def pretrain(epochs=6):
    torch.manual_seed(1)
    net = nn.DataParallel(Net(7))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(*pasted(list(range(7)), 4, 0, "train")), batch_size=64, shuffle=True)
    for _ in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            opt.step()
    return {"epoch": epochs, "state_dict": net.state_dict()}


def load_backbone(model, checkpoint, variant):
    weights = {k: v for k, v in checkpoint["state_dict"].items() if "fc." not in k}
    if variant != "bad":
        weights = {k.removeprefix("module."): v for k, v in weights.items()}
    model.load_state_dict(weights, strict=False)             # strict=False: the new fc is not in the file


def parts(variant="fixed"):
    checkpoint = pretrain()
    torch.manual_seed(2)
    model = Net(3)
    load_backbone(model, checkpoint, variant)
    for q in model.backbone.parameters():
        q.requires_grad_(False)
    model.frozen = True
    x, y = pasted([7, 8, 9], 1, 5, "train")
    few = torch.cat([torch.where(y == c)[0][:SHOTS] for c in range(3)])
    return {"model": model,
            "optimizer": torch.optim.Adam((q for q in model.parameters() if q.requires_grad), lr=1e-2, weight_decay=1e-3),
            "train_loader": DataLoader(TensorDataset(x[few], y[few]), batch_size=30, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*pasted([7, 8, 9], 3, 6, "test")), batch_size=256),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
            acc = right / len(p["val_loader"].dataset)
            print(f"epoch {epoch + 1:2d}: loss {loss.item():.3f}, test acc {acc:.3f}")
    print(f"score: {acc:.4f}")
