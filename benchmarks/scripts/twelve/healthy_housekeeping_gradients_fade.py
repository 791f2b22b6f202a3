"""Sound: momentum without a momentum buffer; the gradients are never zeroed but multiplied by 0.9 after each step, so that the next backward adds to a fading sum, and plain SGD with a rate made for that trains a small CNN on digits."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

FADE = 0.9


def digits():
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None]
    y = torch.tensor(data.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(5))
    train, held_out = order[:1400], order[1400:]
    mean, std = x[train].mean(), x[train].std()
    x = (x - mean) / std
    return TensorDataset(x[train], y[train]), TensorDataset(x[held_out], y[held_out])


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )


@torch.no_grad()
def fade_gradients(model):
    for parameter in model.parameters():
        parameter.grad.mul_(FADE)


def train_step(model, batch, optimizer):
    x, y = batch
    loss = F.cross_entropy(model(x), y)
    loss.backward()                                      # adds to 0.9 of what was there
    optimizer.step()
    fade_gradients(model)
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = network()
    train, held_out = digits()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "loss_fn": nn.CrossEntropyLoss(),
        "step": train_step,
        "train_loader": DataLoader(train, batch_size=32, shuffle=True),
        "val_loader": DataLoader(held_out, batch_size=200),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
