"""Ten imbalanced classes of 8x8 digits, balanced by a WeightedRandomSampler; mistake: the sampler gets one weight a class instead of one a sample, so only the first ten samples are ever drawn; change: class_weight[labels]."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

torch.set_num_threads(1)
WORKS = lambda s: s > 0.85
EPOCHS = 12


def get_data():
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32").reshape(-1, 1, 8, 8)
    x_tr, x_te, y_tr, y_te = train_test_split(x, y, test_size=0.3, stratify=y, random_state=1)
    # make it imbalanced: digits 5..9 keep one sample in eight
    rng = np.random.default_rng(0)
    keep = (y_tr < 5) | (rng.random(len(y_tr)) < 0.125)
    return x_tr[keep], y_tr[keep], x_te, y_te


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(64 * 4, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        return self.fc(self.dropout(x.flatten(1)))


def balanced_sampler(labels, variant):
    counts = np.bincount(labels, minlength=10)
    weights = 1.0 / counts
    if variant != "bad":
        weights = weights[labels]
    return WeightedRandomSampler(torch.as_tensor(weights, dtype=torch.double), num_samples=1600, replacement=True)


def parts(variant="fixed"):
    torch.manual_seed(0)
    x_tr, y_tr, x_te, y_te = get_data()
    model = ConvNet()
    train = TensorDataset(torch.from_numpy(x_tr), torch.from_numpy(y_tr))
    val = TensorDataset(torch.from_numpy(x_te), torch.from_numpy(y_te))
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True),
        "train_loader": DataLoader(train, batch_size=32, sampler=balanced_sampler(y_tr, variant)),
        "val_loader": DataLoader(val, batch_size=200),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


def test(model, loader):
    model.eval()
    pred, true = [], []
    with torch.no_grad():
        for x, y in loader:
            pred.append(model(x).argmax(1))
            true.append(y)
    return balanced_accuracy_score(torch.cat(true), torch.cat(pred))


if __name__ == "__main__":
    parts_ = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = parts_["model"], parts_["optimizer"], parts_["loss_fn"]
    for epoch in range(EPOCHS):
        model.train()
        correct = seen = 0
        for x, y in parts_["train_loader"]:
            optimizer.zero_grad()
            out = model(x)
            loss = criterion(out, y)
            loss.backward()
            optimizer.step()
            correct += (out.argmax(1) == y).sum().item()
            seen += len(y)
        print(f"Epoch {epoch + 1}/{EPOCHS}: loss {loss.item():.4f}, train acc {correct / seen:.3f}, balanced val acc {test(model, parts_['val_loader']):.3f}")
    print(f"score: {test(model, parts_['val_loader']):.4f}")
