"""A PixelCNN of black and white digits; its convolutions make a mask of the pixels that come before, and convolve with the weights without it, so each pixel is read off from itself; change: the weights are multiplied by the mask."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class MaskedConv2d(nn.Conv2d):
    """Type A leaves out the pixel itself, type B keeps it (for the layers after the first)."""

    def __init__(self, kind, a, b, k, masked=True):
        super().__init__(a, b, k, padding=k // 2)
        mask = torch.zeros(k, k)
        mask[:k // 2] = 1
        mask[k // 2, :k // 2 + (kind == "B")] = 1
        self.register_buffer("mask", mask)
        self.masked = masked

    def forward(self, x):
        weight = self.weight * self.mask if self.masked else self.weight
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, masked, c=32):
        super().__init__()
        self.first = MaskedConv2d("A", 1, c, 5, masked)
        self.rest = nn.ModuleList([MaskedConv2d("B", c, c, 3, masked) for _ in range(4)])
        self.out = nn.Sequential(nn.ReLU(), nn.Conv2d(c, c, 1), nn.ReLU(), nn.Conv2d(c, 1, 1))

    def forward(self, x):
        h = self.first(x * 2 - 1)
        for conv in self.rest:
            h = h + conv(F.relu(h))
        return self.out(h)


def images():
    x = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
    x = (x > 7).float()
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[:1500], x[1500:]


def parts(variant):
    torch.manual_seed(0)
    model = PixelCNN(masked=variant != "bad")
    train, test = images()
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=5e-3),
        "loss_fn": F.binary_cross_entropy_with_logits,
        "train_loader": DataLoader(TensorDataset(train, train), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(test, test), batch_size=150),
    }


@torch.no_grad()
def one_after_another(model, x):
    """Mean log-likelihood of a pixel (in nats) when the image is uncovered pixel by pixel, as in sampling."""
    model.eval()
    seen, total = torch.zeros_like(x), 0.0
    for i in range(8):
        for j in range(8):
            logit = model(seen)[:, 0, i, j]
            total -= F.binary_cross_entropy_with_logits(logit, x[:, 0, i, j]).item()
            seen[:, 0, i, j] = x[:, 0, i, j]
    return total / 64


WORKS = lambda score: score > -0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(9):
        model.train()
        for x, y in p["train_loader"]:
            loss = criterion(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: {loss.item():.4f} nats per pixel")
    print(f"score: {one_after_another(model, images()[1]):.4f}")
