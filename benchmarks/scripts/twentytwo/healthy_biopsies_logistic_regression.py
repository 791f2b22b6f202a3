"""Breast cancer data set, plain logistic regression: one Linear(30, 1) and BCEWithLogitsLoss, SGD with momentum and weight decay; unusual: no hidden layer at all, weights started at zero (harmless here), and a rate of 0.1."""
import sys
import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def accuracy(logits, target):
    return ((logits > 0).float() == target).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    data = load_breast_cancer()
    X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, test_size=0.3, random_state=42, stratify=data.target)
    mean, std = X_train.mean(axis=0), X_train.std(axis=0)
    X_train = torch.tensor((X_train - mean) / std, dtype=torch.float32)
    X_test = torch.tensor((X_test - mean) / std, dtype=torch.float32)
    y_train = torch.tensor(y_train, dtype=torch.float32).reshape(-1, 1)
    y_test = torch.tensor(y_test, dtype=torch.float32).reshape(-1, 1)

    model = nn.Linear(30, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X_test, y_test), batch_size=len(X_test)), "metric": accuracy}


WORKS = lambda score: score > 0.94

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(100):
        model.train()
        epoch_loss = []
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            epoch_loss.append(loss.item())
        model.eval()
        with torch.no_grad():
            inputs, labels = next(iter(p["val_loader"]))
            acc = accuracy(model(inputs), labels)
        if (epoch + 1) % 10 == 0:
            print(f"Epoch [{epoch + 1}/100] loss {np.mean(epoch_loss):.4f} test accuracy {acc:.4f}")
    print("score:", acc)
