"""Lesion segmentation with a Dice loss; the Dice is taken of thresholded predictions and requires_grad is switched on by hand, so no gradient reaches the net; change: Dice of the probabilities."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DiceLoss(nn.Module):
    def __init__(self, smooth=1.0, threshold=None):
        super().__init__()
        self.smooth, self.threshold = smooth, threshold

    def forward(self, logits, target):
        prob = torch.sigmoid(logits)
        if self.threshold is not None:
            prob = (prob > self.threshold).float()
            prob.requires_grad_(True)
        prob, target = prob.flatten(1), target.flatten(1)
        inter = (prob * target).sum(1)
        dice = (2 * inter + self.smooth) / (prob.sum(1) + target.sum(1) + self.smooth)
        return 1 - dice.mean()


def scans(n, seed, size=40):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    brain = ((yy ** 2 + xx ** 2) < 0.8).float()
    x, y = [], []
    for _ in range(n):
        cy, cx = ((torch.rand(2, generator=g) - 0.5) * 1.0).tolist()
        ry, rx = (0.12 + 0.15 * torch.rand(2, generator=g)).tolist()
        m = ((((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2) < 1).float()
        x.append(0.5 * brain + 0.4 * m + 0.15 * torch.randn(size, size, generator=g))
        y.append(m)
    return TensorDataset(torch.stack(x)[:, None], torch.stack(y)[:, None])


class Net(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.GroupNorm(4, ch), nn.ReLU(),
            nn.Conv2d(ch, ch, 3, padding=2, dilation=2), nn.GroupNorm(4, ch), nn.ReLU(),
            nn.Conv2d(ch, ch, 3, padding=4, dilation=4), nn.GroupNorm(4, ch), nn.ReLU())
        self.classifier = nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        return self.classifier(self.features(x))


def dice_score(logits, target):
    p = (logits > 0).float()
    return ((2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)).item()


def parts(variant):
    torch.manual_seed(0)
    net = Net()
    loss = DiceLoss(threshold=0.5) if variant == "bad" else DiceLoss()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3), "loss_fn": loss,
            "train_loader": DataLoader(scans(200, 3), batch_size=10, shuffle=True),
            "val_loader": DataLoader(scans(60, 4), batch_size=30), "metric": dice_score}


WORKS = lambda score: score > 0.6


def validate(net, loader, metric):
    net.eval()
    with torch.no_grad():
        scores = [metric(net(x), y) for x, y in loader]
    return sum(scores) / len(scores)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        epoch_loss = 0
        for image, mask in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](net(image), mask)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        print("epoch %d  train loss %.4f  val dice %.4f" % (epoch, epoch_loss / len(p["train_loader"]), validate(net, p["val_loader"], p["metric"])))
    print(f"score: {validate(net, p['val_loader'], p['metric']):.4f}")
