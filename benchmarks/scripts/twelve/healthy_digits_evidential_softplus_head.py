"""Healthy: evidential classifier of digits; the net ends in softplus + 1 (the parameters of a Dirichlet, never logits), and the loss is the expected squared error under it, with a penalty on evidence for wrong classes that grows with the epochs."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

CLASSES = 10


class DirichletNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(),
        )
        self.evidence = nn.Linear(64, CLASSES)

    def forward(self, x):
        return F.softplus(self.evidence(self.features(x))) + 1


class EvidentialLoss(nn.Module):
    """Sensoy et al. 2018."""

    def __init__(self):
        super().__init__()
        self.penalty = 0.0

    def forward(self, alpha, y):
        one_hot = F.one_hot(y, CLASSES).float()
        s = alpha.sum(1, keepdim=True)
        p = alpha / s
        fit = ((one_hot - p) ** 2 + p * (1 - p) / (s + 1)).sum(1)
        wrong = one_hot + (1 - one_hot) * alpha
        flat = torch.ones_like(wrong)
        kl = torch.distributions.kl_divergence(torch.distributions.Dirichlet(wrong), torch.distributions.Dirichlet(flat))
        return (fit + self.penalty * kl).mean()


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    x = (torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) - 4.9) / 6.0
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    model = DirichletNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": EvidentialLoss(),
        "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
        "metric": accuracy,
    }


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        criterion.penalty = min(0.1, 0.01 * epoch)
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            alpha = model(x)
            acc = accuracy(alpha, y)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}  accuracy {acc:.3f}  mean evidence {alpha.sum(1).mean().item() - CLASSES:.1f}")
    print(f"score: {acc:.4f}")
