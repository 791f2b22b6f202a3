"""Healthy: feedback alignment on the digits: the backward pass goes through fixed random matrices instead of the transposed weights, so the gradients are
not those of the loss; the layers learn to agree with them. Nothing to change."""
import sys
import torch
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class AlignedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, back):
        ctx.save_for_backward(x, back)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, grad):
        x, back = ctx.saved_tensors
        return grad @ back, grad.T @ x, grad.sum(0), None


class FALinear(nn.Linear):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.register_buffer("back", torch.randn(b, a) / a ** 0.5)

    def forward(self, x):
        return AlignedLinear.apply(x, self.weight, self.bias, self.back)


def loaders():
    d = load_digits()
    x = torch.tensor(d.data, dtype=torch.float32) / 8 - 1
    y = torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    x, y = x[order], y[order]
    return (DataLoader(TensorDataset(x[:1400], y[:1400]), 32, shuffle=True), DataLoader(TensorDataset(x[1400:], y[1400:]), 400))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(FALinear(64, 128), nn.Tanh(), FALinear(128, 64), nn.Tanh(), FALinear(64, 10))
    train_loader, val_loader = loaders()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), loss_fn=nn.CrossEntropyLoss(),
                train_loader=train_loader, val_loader=val_loader)


WORKS = lambda score: score > 0.92

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        running = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch}: {running / len(p['train_loader']):.4f}")
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    score = right / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
