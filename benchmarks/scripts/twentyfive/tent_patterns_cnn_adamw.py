"""CNN with batch norm trained with AdamW on aerial pictures of tents (ridge, dome, bell, tunnel, pagoda) on a camp site. The loop never clears the gradients, so every step uses the sum over all batches so far; the right change: optimizer.zero_grad() before the backward pass."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
KINDS = ["ridge", "dome", "bell", "tunnel", "pagoda"]
N = 22


class Campsite(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, len(KINDS), (count,), generator=g)
        self.images = torch.stack([self.render(int(k), g) for k in self.labels])

    @staticmethod
    def render(kind, g):
        y, x = torch.meshgrid(torch.arange(N) - N / 2, torch.arange(N) - N / 2, indexing="ij")
        angle = torch.rand(1, generator=g) * 3.1416
        dx, dy = torch.randn(2, generator=g) * 1.5
        u = (x - dx) * angle.cos() + (y - dy) * angle.sin()
        v = (y - dy) * angle.cos() - (x - dx) * angle.sin()
        r = (u ** 2 + v ** 2).sqrt()
        s = 5.5 + torch.rand(1, generator=g)
        square = torch.maximum(u.abs(), v.abs())
        if kind == 0:
            height = (u.abs() < s) * (1 - v.abs() / 4).clamp(min=0)
        elif kind == 1:
            height = (1 - (r / s) ** 2).clamp(min=0)
        elif kind == 2:
            height = (1 - r / s).clamp(min=0) + 0.4 * (r < 1.2)
        elif kind == 3:
            height = (u.abs() < s) * (1 - (v / 3.5) ** 2).clamp(min=0) * (0.7 + 0.3 * torch.cos(u * 1.8))
        else:
            height = (1 - square / s).clamp(min=0)
        colour = 0.4 + 0.6 * torch.rand(3, 1, 1, generator=g)
        grass = torch.tensor([0.2, 0.4, 0.15]).view(3, 1, 1)
        image = grass + colour * height
        return image + 0.12 * torch.randn(3, N, N, generator=g)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def conv_block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(),
                         nn.MaxPool2d(2))


class TentNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv_block(3, 12), conv_block(12, 24), conv_block(24, 32))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 4, len(KINDS)))

    def forward(self, x):
        return self.classifier(self.features(x))


def train_batch(model, batch, optimizer):
    images, labels = batch
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=0.05)
    loss.backward()
    optimizer.step()
    return loss.detach()


def train_on(model, batch, optimizer):
    images, labels = batch
    loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=0.05)
    loss.backward()
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(4)
    model = TentNet()
    return {"model": model, "step": train_on if variant == "bad" else train_batch,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02),
            "train_loader": DataLoader(Campsite(1600, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(Campsite(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(5):
        p["model"].train()
        mean_loss = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]) / 40
        p["model"].eval()
        with torch.no_grad():
            right = sum((p["model"](x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        print(f"epoch {epoch}: loss {mean_loss:.3f}, accuracy {right / 500:.3f}")
    print("score:", right / 500)
