"""Healthy: private learning (DP-SGD) on the digits: the gradient of every single picture is clipped to norm 1, the clipped ones are summed and Gaussian noise
is laid upon them; nearly every gradient is cut and the training loss stays well above zero. Nothing to change."""
import sys
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

CLIP, NOISE = 1.0, 0.8


def data():
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(8))
    return TensorDataset(x[order[:1500]], y[order[:1500]]), TensorDataset(x[order[1500:]], y[order[1500:]])


def one_loss(weights, model, x, y):
    return F.cross_entropy(functional_call(model, weights, (x[None],)), y[None])


def step(model, batch, optimizer):
    x, y = batch
    weights = {k: p.detach() for k, p in model.named_parameters()}
    grads, losses = vmap(grad_and_value(one_loss), in_dims=(None, None, 0, 0))(weights, model, x, y)
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()]).norm(dim=0)
    factor = (CLIP / (norm + 1e-6)).clamp(max=1.0)
    for name, p in model.named_parameters():
        total = torch.einsum("n,n...->...", factor, grads[name])
        p.grad = (total + NOISE * CLIP * torch.randn_like(total)) / len(x)
    optimizer.step()
    return losses.mean()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.Tanh(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24 * 4, 10))
    train, val = data()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0), step=step,
                train_loader=DataLoader(train, 150, shuffle=True), val_loader=DataLoader(val, 300))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    score = right / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
