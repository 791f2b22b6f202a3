"""Transfer: a small CNN pretrained on digits is copied and adapted to inverted, noisy digits; bad: the optimizer holds the parameters of the original, not those of the copy that is trained; change: the optimizer is built from the copy."""
import copy
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 16, 48), nn.ReLU(), nn.Linear(48, 10))


def pretrain(net, images, labels, epochs=4):
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for idx in torch.randperm(len(images)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(images[idx]), labels[idx]).backward()
            opt.step()


def parts(variant):
    torch.manual_seed(0)
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(bunch.target)
    order = torch.randperm(len(images))
    images, labels = images[order], labels[order]

    source = make_net()
    pretrain(source, images[:500], labels[:500])
    model = copy.deepcopy(source)
    tuned = source if variant == "bad" else model
    optimizer = torch.optim.SGD(tuned.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    inverted = 1 - images[500:] + 0.05 * torch.randn_like(images[500:])
    target = labels[500:]
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
            "train_loader": DataLoader(TensorDataset(inverted[:1000], target[:1000]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(inverted[1000:], target[1000:]), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 13):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch:2d}  train {sum(losses) / len(losses):.4f}  acc on inverted {acc:.3f}")
    score = acc
    print(f"score: {score:.4f}")
