"""Transfer from even to odd scikit-learn digits: backbone trained first inside parts, then frozen with its batch norm held in eval by an overridden train(), only last block and new head learn at two rates; sound. change: nothing."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Net(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential(block(1, 16), block(16, 32), nn.MaxPool2d(2))
        self.last = block(32, 48)
        self.fc = nn.Linear(48, classes)
        self.frozen = False

    def freeze_features(self):
        self.frozen = True
        for w in self.features.parameters():
            w.requires_grad = False
        return self.train()

    def train(self, mode=True):
        super().train(mode)
        if self.frozen:
            self.features.eval()
        return self

    def forward(self, x):
        x = self.last(self.features(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def pretrain(x, y, epochs=8):
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for i in torch.randperm(len(y)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(x[i]), y[i]).backward()
            opt.step()
    return net


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = (torch.tensor(d.images, dtype=torch.float32) / 16 - 0.3053).unsqueeze(1) / 0.3760
    y = torch.tensor(d.target)
    even, odd = y % 2 == 0, y % 2 == 1
    net = pretrain(x[even], y[even] // 2)
    net.fc = nn.Linear(48, 5)
    net.freeze_features()
    xo, yo = x[odd], y[odd] // 2
    order = torch.randperm(len(yo))
    tr, va = order[:300], order[300:]
    opt = torch.optim.SGD([{"params": net.last.parameters(), "lr": 0.01}, {"params": net.fc.parameters(), "lr": 0.1}], momentum=0.9)
    return dict(model=net, optimizer=opt, loss_fn=nn.CrossEntropyLoss(), train_loader=DataLoader(TensorDataset(xo[tr], yo[tr]), 30, shuffle=True),
                val_loader=DataLoader(TensorDataset(xo[va], yo[va]), 200))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() / 10
        net.eval()
        right = n = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                right += (net(x).argmax(1) == y).sum().item()
                n += len(y)
        print(f"epoch {epoch} loss {total:.4f} acc {right / n:.4f}")
    score = right / n
    print(f"score: {score:.4f}")
