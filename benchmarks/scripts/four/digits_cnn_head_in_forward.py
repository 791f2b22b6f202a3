"""CNN of digits: the fully connected layer is made anew inside forward, to fit the size of the features; change: made once, in __init__."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits


class Net(nn.Module):
    def __init__(self, in_features=None):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3)
        self.drop = nn.Dropout2d(0.1)
        self.fc1 = nn.Linear(in_features, 10) if in_features else None

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.drop(self.conv2(x)))
        x = x.view(x.size(0), -1)
        fc1 = self.fc1 or nn.Linear(x.size(1), 10)
        return F.log_softmax(fc1(x), dim=1)


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.FloatTensor(digits.images).unsqueeze(1) / 16.0
    y = torch.LongTensor(digits.target)
    idx = torch.randperm(len(x))
    x, y = x[idx], y[idx]
    net = Net() if variant == "bad" else Net(in_features=32 * 2 * 2)
    return {"model": net,
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
            "loss_fn": F.nll_loss,
            "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)}


WORKS = lambda score: score > 0.85


def test(net, loader):
    net.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            pred = net(data).max(1, keepdim=True)[1]
            correct += pred.eq(target.view_as(pred)).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 21):
        net.train()
        for batch_idx, (data, target) in enumerate(p["train_loader"]):
            optimizer.zero_grad()
            loss = p["loss_fn"](net(data), target)
            loss.backward()
            optimizer.step()
        print("Train Epoch: {} \tLoss: {:.6f}\tAccuracy: {:.4f}".format(epoch, loss.item(), test(net, p["val_loader"])))
    print(f"score: {test(net, p['val_loader']):.4f}")
