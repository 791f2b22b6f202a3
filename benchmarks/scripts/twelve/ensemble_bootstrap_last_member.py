"""Bootstrap ensemble of five convnets on digits, Adagrad; the optimizer is made after the loop that builds the members, from the loop's variable, so that it holds the last one only while all five are averaged; change: it gets the parameters of the ModuleList."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

MEMBERS = 5


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 10))


class Ensemble(nn.Module):
    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        return torch.stack([m(x) for m in self.members], 1)  # B, M, C


def bootstrap_loss(logits, y):
    """Each member sees each example with a Poisson(1) weight."""
    b, m, c = logits.shape
    w = torch.poisson(torch.ones(b, m))
    ce = F.cross_entropy(logits.reshape(b * m, c), y.repeat_interleave(m), reduction="none").view(b, m)
    return (w * ce).sum() / w.sum().clamp(min=1)


def digits():
    d = load_digits()
    x = ((d.images - d.images.mean()) / d.images.std()).astype(np.float32)[:, None]
    xa, xb, ya, yb = train_test_split(x, d.target, test_size=0.25, random_state=0, stratify=d.target)
    t = lambda a, b: TensorDataset(torch.from_numpy(a), torch.from_numpy(b).long())
    return t(xa, ya), t(xb, yb)


def parts(variant):
    torch.manual_seed(0)
    nets = []
    for _ in range(MEMBERS):
        net = small_cnn()
        nets.append(net)
    model = Ensemble(nets)
    params = net.parameters() if variant == "bad" else model.parameters()
    train, val = digits()
    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(params, lr=0.02),
        "loss_fn": bootstrap_loss,
        "train_loader": DataLoader(train, batch_size=32, shuffle=True),
        "val_loader": DataLoader(val, batch_size=150),
    }


@torch.no_grad()
def likelihood(model, loader):
    """Mean probability that the ensemble gives to the right digit."""
    model.eval()
    return torch.cat([model(x).softmax(-1).mean(1).gather(1, y[:, None]) for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    ensemble, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        ensemble.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](ensemble(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.4f}  val {likelihood(ensemble, p['val_loader']):.3f}")
    print(f"score: {likelihood(ensemble, p['val_loader']):.4f}")
