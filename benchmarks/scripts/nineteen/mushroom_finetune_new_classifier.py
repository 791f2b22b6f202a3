"""Fine-tuning of a small residual net, pretrained on another digit task, to five classes: the new layer is assigned to model.classifier, while forward uses model.fc, so the layer that the optimizer holds is never used. change: assign the new layer to model.fc."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SmallResNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 3, padding=1)
        self.conv2 = nn.Conv2d(24, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 48, 3, stride=2, padding=1)
        self.fc = nn.Linear(48 * 4, num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(x + self.conv2(x))
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        return self.fc(x.flatten(1))


def pretrain(model, images, labels):
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(12):
        for idx in torch.randperm(len(images)).split(64):
            opt.zero_grad()
            F.cross_entropy(model(images[idx]), labels[idx]).backward()
            opt.step()


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    X, y = torch.tensor(d.images[:, None] / 16, dtype=torch.float32), torch.tensor(d.target)
    source, mine = y < 5, y >= 5
    model = SmallResNet(10)
    pretrain(model, X[source], y[source])
    X, y = X[mine], y[mine] - 5
    order = torch.randperm(len(X))
    tr, va = order[:600], order[600:]
    new_layer = nn.Linear(model.fc.in_features, 5)
    if variant == "bad":
        model.classifier = new_layer
    else:
        model.fc = new_layer
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(new_layer.parameters(), lr=3e-3),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        model.train()
        running_loss = 0.0
        for inputs, labels in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(inputs), labels)
            loss.backward()
            p["optimizer"].step()
            running_loss += loss.item() * len(inputs)
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for inputs, labels in p["val_loader"]:
                correct += (model(inputs).argmax(1) == labels).sum().item()
                total += len(labels)
        print(f"Epoch {epoch}/19 train loss {running_loss / 600:.4f} val acc {correct / total:.4f}")
    print(f"score: {correct / total:.4f}")
