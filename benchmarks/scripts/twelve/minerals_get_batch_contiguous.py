"""Minerals from Raman spectra, twenty to tell apart, read one mineral's file after the other; get_batch came from a language model and cuts a run of neighbouring rows, so a batch holds one mineral; change: the rows of a batch are drawn one by one."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES, BINS, BATCH = 20, 128, 32


def read_files(per_class, seed):
    lines = torch.Generator().manual_seed(21)
    centres = 10 + 108 * torch.rand(CLASSES, 5, generator=lines)
    heights = 0.4 + 0.6 * torch.rand(CLASSES, 5, generator=lines)
    g = torch.Generator().manual_seed(seed)
    xs, ys = [], []
    bins = torch.arange(BINS)
    for c in range(CLASSES):
        shift = 2.0 * torch.randn(per_class, 1, 1, generator=g)
        h = heights[c].view(1, 5, 1) * (0.4 + 1.2 * torch.rand(per_class, 5, 1, generator=g))
        x = (h * torch.exp(-0.5 * ((bins - centres[c].view(1, 5, 1) - shift) / 3.0) ** 2)).sum(1)
        x = x + torch.rand(per_class, 1, generator=g) * bins / BINS + 0.25 * torch.randn(per_class, BINS, generator=g)
        xs.append(x)
        ys.append(torch.full((per_class,), c))
    x = torch.cat(xs).unsqueeze(1)
    return (x - 0.65) / 0.5, torch.cat(ys)


class Batches:
    """An epoch of `steps` batches drawn from the tensors."""

    def __init__(self, x, y, steps, variant):
        self.x, self.y, self.steps, self.variant = x, y, steps, variant

    def __len__(self):
        return self.steps

    def get_batch(self):
        if self.variant == "bad":
            i = torch.randint(len(self.x) - BATCH, (1,)).item()
            return self.x[i:i + BATCH], self.y[i:i + BATCH]
        i = torch.randint(len(self.x), (BATCH,))
        return self.x[i], self.y[i]

    def __iter__(self):
        for _ in range(self.steps):
            yield self.get_batch()


def make_net():
    layers, c = [], 1
    for width in (16, 32, 32):
        layers += [nn.Conv1d(c, width, 7, padding=3), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2)]
        c = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 16, CLASSES))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = make_net()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "loss_fn": F.cross_entropy,
        "train_loader": Batches(*read_files(150, 1), steps=80, variant=variant),
        "val_loader": DataLoader(TensorDataset(*read_files(30, 2)), batch_size=600),
        "metric": accuracy,
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, batches = p["model"], p["optimizer"], p["train_loader"]
    for step in range(800):
        model.train()
        x, y = batches.get_batch()
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if (step + 1) % 80 == 0:
            model.eval()
            with torch.no_grad():
                acc = sum(accuracy(model(a), b) for a, b in p["val_loader"]) / len(p["val_loader"])
            print(f"epoch {(step + 1) // 80}: loss {loss.item():.4f}  accuracy {acc:.3f}")
    print(f"score: {acc:.4f}")
