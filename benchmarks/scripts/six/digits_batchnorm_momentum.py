"""Dense network with batch normalisation ported from Keras; momentum=0.99 is taken over although PyTorch counts it the other way, so the running statistics are those of the last batch, of three pictures; change: momentum=0.05."""
import sys

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH = 15, 64
WORKS = lambda acc: acc > 0.93


def dense_bn(n_in, n_out, momentum):
    return nn.Sequential(
        nn.Linear(n_in, n_out, bias=False),
        nn.BatchNorm1d(n_out, momentum=momentum),
        nn.ReLU(inplace=True),
    )


class KerasPort(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        self.features = nn.Sequential(
            dense_bn(64, 128, momentum), dense_bn(128, 128, momentum), dense_bn(128, 64, momentum),
        )
        self.classifier = nn.Linear(64, 10)

    def forward(self, x):
        return self.classifier(self.features(x))


def loaders():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32) / 16
    y = torch.tensor(y)
    tr, va = train_test_split(torch.arange(len(y)).numpy(), train_size=1347, random_state=0)
    return (DataLoader(TensorDataset(x[tr], y[tr]), BATCH, shuffle=True),
            DataLoader(TensorDataset(x[va], y[va]), 256))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = KerasPort(momentum=0.99 if variant == "bad" else 0.05)
    train, val = loaders()
    return {"model": model, "optimizer": optim.RMSprop(model.parameters(), lr=1e-3),
            "train_loader": train, "val_loader": val, "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda o, y: (o.argmax(1) == y).float().mean()}


def run(variant):
    p = parts(variant)
    model = p["model"]
    for epoch in range(EPOCHS):
        model.train()
        loss_sum, hits, n = 0.0, 0, 0
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = model(xb)
            loss = p["loss_fn"](out, yb)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item() * len(yb)
            hits += (out.argmax(1) == yb).sum().item()
            n += len(yb)
        model.eval()
        with torch.no_grad():
            val = torch.cat([(model(xb).argmax(1) == yb).float() for xb, yb in p["val_loader"]]).mean().item()
        print(f"Epoch {epoch + 1}/{EPOCHS} - loss: {loss_sum / n:.4f} - acc: {hits / n:.4f} - val_acc: {val:.4f}")
    print("score:", round(val, 4))


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else "fixed")
