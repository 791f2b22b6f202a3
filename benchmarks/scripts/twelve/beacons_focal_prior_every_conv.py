"""Finds beacons in noisy images with a dense head and a focal loss (Adam); the helper that sets the prior bias of RetinaNet, -log((1-p)/p), goes over every convolution of the head, so that its hidden ReLUs sit at -4.6 and never fire; change: hidden biases zero, the prior on the last convolution only."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader, TensorDataset

SIZE, STRIDE = 32, 2


def images(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 0.6 * torch.randn(n, 1, SIZE, SIZE, generator=g)
    y = torch.zeros(n, 1, SIZE // STRIDE, SIZE // STRIDE)
    cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]).float()
    ring = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]).float() * 5 / 8
    for i in range(n):
        for shape, target in ((cross, True), (cross, True), (ring, False), (ring, False)):
            r, c = (torch.randint(0, SIZE // STRIDE - 2, (2,), generator=g) * STRIDE + 1).tolist()
            x[i, 0, r:r + 3, c:c + 3] += 1.6 * shape
            if target:
                y[i, 0, (r + 1) // STRIDE, (c + 1) // STRIDE] = 1.0
    return x, y


def set_prior(head, prior, everywhere):
    """Weights by He; the prior of the rare positives goes into the bias."""
    convs = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    for m in convs:
        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
        if everywhere or m is convs[-1]:
            nn.init.constant_(m.bias, -math.log((1 - prior) / prior))
        else:
            nn.init.zeros_(m.bias)


class BeaconNet(nn.Module):
    def __init__(self, everywhere, width=16):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 32, 3, stride=STRIDE, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 1, 1),
        )
        set_prior(self.head, 0.01, everywhere)

    def forward(self, x):
        return self.head(self.stem(x))


def focal_loss(logits, target, alpha=0.5, gamma=2.0):
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = torch.sigmoid(logits)
    p_t = p * target + (1 - p) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * (1 - p_t) ** gamma * ce).sum() / target.sum().clamp(min=1)


def parts(variant):
    torch.manual_seed(0)
    model = BeaconNet(everywhere=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": focal_loss,
        "train_loader": DataLoader(TensorDataset(*images(800, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*images(200, 2)), batch_size=100),
    }


@torch.no_grad()
def average_precision(model, loader):
    model.eval()
    scores = torch.cat([model(x).flatten() for x, _ in loader])
    truth = torch.cat([y.flatten() for _, y in loader])
    return average_precision_score(truth.numpy(), scores.nan_to_num(0.0).numpy())


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: focal loss {total / len(p['train_loader']):.4f}, AP {average_precision(model, p['val_loader']):.3f}")
    print(f"score: {average_precision(model, p['val_loader']):.4f}")
