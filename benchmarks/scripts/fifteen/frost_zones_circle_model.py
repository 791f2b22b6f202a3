"""Frost zone (mild, middle, harsh) of a garden from its place on the map, after the well-known course notebook on two circles; bad: layer_3(layer_2(layer_1(x))) with no activation between, which is one linear layer; change: relu after the first two."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RANDOM_SEED = 42


def make_gardens(n_samples):
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    X = 2 * torch.rand(n_samples, 2, generator=generator) - 1
    radius = X.norm(dim=1) + 0.03 * torch.randn(n_samples, generator=generator)
    y = (radius > 0.5).long() + (radius > 0.85).long()
    return X, y


class FrostModelV0(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_1 = nn.Linear(in_features=2, out_features=32)
        self.layer_2 = nn.Linear(in_features=32, out_features=32)
        self.layer_3 = nn.Linear(in_features=32, out_features=3)

    def forward(self, x):
        return self.layer_3(self.layer_2(self.layer_1(x)))


class FrostModelV1(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_1 = nn.Linear(in_features=2, out_features=32)
        self.layer_2 = nn.Linear(in_features=32, out_features=32)
        self.layer_3 = nn.Linear(in_features=32, out_features=3)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.layer_3(self.relu(self.layer_2(self.relu(self.layer_1(x)))))


def accuracy_fn(y_true, y_pred):
    correct = torch.eq(y_true, y_pred).sum().item()
    return (correct / len(y_pred)) * 100


def parts(variant):
    torch.manual_seed(0)
    X, y = make_gardens(2500)
    X_train, X_test, y_train, y_test = X[:2000], X[2000:], y[:2000], y[2000:]
    model = FrostModelV0() if variant == "bad" else FrostModelV1()
    return {
        "model": model,
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(params=model.parameters(), lr=0.01),
        "train_loader": DataLoader(TensorDataset(X_train, y_train), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X_test, y_test), batch_size=500),
    }


WORKS = lambda score: score > 85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_fn, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    epochs = 40
    for epoch in range(epochs):
        model.train()
        train_loss = 0
        for X, y in p["train_loader"]:
            y_logits = model(X)
            loss = loss_fn(y_logits, y)
            train_loss += loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        train_loss /= len(p["train_loader"])
        model.eval()
        with torch.inference_mode():
            for X, y in p["val_loader"]:
                test_logits = model(X)
                test_pred = torch.softmax(test_logits, dim=1).argmax(dim=1)
                test_loss = loss_fn(test_logits, y)
                test_acc = accuracy_fn(y_true=y, y_pred=test_pred)
        if epoch % 5 == 4:
            print(f"Epoch: {epoch} | Loss: {train_loss:.5f} | Test Loss: {test_loss:.5f}, Test Accuracy: {test_acc:.2f}%")
    print(f"score: {test_acc:.4f}")
