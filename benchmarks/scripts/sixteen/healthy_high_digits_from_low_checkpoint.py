"""Transfer learning: a CNN is trained on the digits 0-4, its state_dict saved; a second one loads the trunk (new head, trunk frozen and in eval mode) and learns 5-9 from 200 pictures; sound; change: none."""
import io
import sys
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DigitNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(48 * 16, n_classes)

    def forward(self, x):
        return self.head(self.trunk(x))


class FrozenTrunkNet(DigitNet):
    def train(self, mode=True):
        super().train(mode)
        self.trunk.eval()
        return self


def split():
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(d.target)
    low, high = y < 5, y >= 5
    return (X[low], y[low]), (X[high], y[high] - 5)


def pretrain(X, y, epochs=6):
    net = DigitNet(5)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
    for _ in range(epochs):
        for xb, yb in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(xb), yb).backward()
            opt.step()
    buf = io.BytesIO()
    torch.save({"model": net.state_dict(), "epochs": epochs}, buf)
    buf.seek(0)
    return buf


def parts(variant):
    torch.manual_seed(0)
    low, (X, y) = split()
    ckpt = torch.load(pretrain(*low), weights_only=True)
    model = FrozenTrunkNet(5)
    state = {k: v for k, v in ckpt["model"].items() if not k.startswith("head.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["head.weight", "head.bias"] and not unexpected
    model.trunk.requires_grad_(False)
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.01, momentum=0.9)
    perm = torch.randperm(len(y))
    tr, va = perm[:200], perm[200:]
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(X[tr], y[tr]), batch_size=20, shuffle=True),
                val_loader=DataLoader(TensorDataset(X[va], y[va]), batch_size=128))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item() * inputs.size(0)
        print(f"Epoch {epoch}/11 train loss: {running / 200:.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
