"""Tumour classifier (table, two classes): one output under cross-entropy, so the loss is 0 from the start; change: binary_cross_entropy_with_logits."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def get_data():
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=42, stratify=y)
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    X_test = scaler.transform(X_test)
    def to(a, b):
        return TensorDataset(torch.from_numpy(a.astype(np.float32)), torch.from_numpy(b.astype(np.float32)).unsqueeze(1))
    return to(X_train, y_train), to(X_test, y_test)


class TumourNet(nn.Module):
    def __init__(self, n_in=30, hidden=(32, 16), p=0.1):
        super(TumourNet, self).__init__()
        self.fc1 = nn.Linear(n_in, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.out = nn.Linear(hidden[1], 1)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        x = self.drop(torch.relu(self.fc1(x)))
        x = torch.relu(self.fc2(x))
        return self.out(x)


def parts(variant):
    torch.manual_seed(0)
    train_ds, test_ds = get_data()
    net = TumourNet()
    criterion = nn.CrossEntropyLoss() if variant == "bad" else nn.BCEWithLogitsLoss()
    return {
        "model": net,
        "optimizer": torch.optim.RMSprop(net.parameters(), lr=1e-3),
        "loss_fn": criterion,
        "train_loader": DataLoader(train_ds, batch_size=16, shuffle=True),
        "val_loader": DataLoader(test_ds, batch_size=64),
        "metric": lambda out, y: ((out > 0).float() == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    EPOCHS = 40
    for epoch in range(1, EPOCHS + 1):
        net.train()
        running = 0.0
        for inputs, labels in p["train_loader"]:
            opt.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            opt.step()
            running += loss.item() * inputs.size(0)
        net.eval()
        correct, seen = 0, 0
        with torch.no_grad():
            for inputs, labels in p["val_loader"]:
                pred = (torch.sigmoid(net(inputs)) > 0.5).float()
                correct += (pred == labels).sum().item()
                seen += labels.size(0)
        if epoch % 5 == 0:
            print("Epoch %d | loss %.5f | test accuracy %.3f" % (epoch, running / len(p["train_loader"].dataset), correct / seen))
    print(f"score: {correct / seen:.4f}")
