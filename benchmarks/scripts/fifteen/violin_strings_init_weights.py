"""Which of six strings or positions a violin note was played on, from 48 spectral bands, by an MLP of nine layers; bad: init_weights of the book's chapter on MLPs (normal, std 0.01, zero bias), made for one hidden layer of many inputs, is applied to the narrow deep net; change: kaiming_normal_ in its place."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def notes(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    band = torch.arange(48.0)
    pitch = 3 + 5 * torch.rand(n, 1, generator=g)
    decay = (0.06 + 0.025 * y.float())[:, None] * (1 + 0.05 * torch.randn(n, 1, generator=g))
    comb = torch.cos(2 * torch.pi * band / pitch) ** 2
    body = torch.exp(-(band - 8 - 5 * (y % 3).float()[:, None]) ** 2 / 20)
    x = torch.exp(-decay * band) * (0.3 + comb) + 0.35 * body + 0.05 * torch.randn(n, 48, generator=g)
    return x, y


def mlp(num_inputs, num_hiddens, num_layers, num_outputs):
    layers = [nn.Linear(num_inputs, num_hiddens), nn.ReLU()]
    for _ in range(num_layers - 2):
        layers += [nn.Linear(num_hiddens, num_hiddens), nn.ReLU()]
    layers.append(nn.Linear(num_hiddens, num_outputs))
    return nn.Sequential(*layers)


def init_normal(m):
    if type(m) == nn.Linear:
        nn.init.normal_(m.weight, mean=0, std=0.01)
        nn.init.zeros_(m.bias)


def init_kaiming(m):
    if type(m) == nn.Linear:
        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
        nn.init.zeros_(m.bias)


def parts(variant):
    torch.manual_seed(0)
    X, y = notes(2560, 1)
    X_test, y_test = notes(512, 2)
    mean, std = X.mean(0), X.std(0)
    net = mlp(48, 64, 9, 6)
    net.apply(init_normal if variant == "bad" else init_kaiming)
    batch_size, lr = 64, 0.01
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9),
            "train_loader": DataLoader(TensorDataset((X - mean) / std, y), batch_size, shuffle=True),
            "val_loader": DataLoader(TensorDataset((X_test - mean) / std, y_test), batch_size)}


WORKS = lambda score: score > 0.8


def train_epoch(net, train_iter, loss, updater):
    net.train()
    total_loss, total_acc, total = 0.0, 0, 0
    for X, y in train_iter:
        y_hat = net(X)
        l = loss(y_hat, y)
        updater.zero_grad()
        l.backward()
        updater.step()
        total_loss += l.item() * len(y)
        total_acc += (y_hat.argmax(1) == y).sum().item()
        total += len(y)
    return total_loss / total, total_acc / total


def evaluate_accuracy(net, data_iter):
    net.eval()
    with torch.no_grad():
        hits = [(net(X).argmax(1) == y).float() for X, y in data_iter]
    return torch.cat(hits).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        train_loss, train_acc = train_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        test_acc = evaluate_accuracy(p["model"], p["val_loader"])
        print(f"epoch {epoch + 1}: loss {train_loss:.4f}, train acc {train_acc:.3f}, test acc {test_acc:.3f}")
    score = test_acc
    print(f"score: {score:.4f}")
