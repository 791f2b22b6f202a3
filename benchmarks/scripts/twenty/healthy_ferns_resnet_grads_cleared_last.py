"""A small CIFAR-style ResNet on drawn fern fronds of four kinds: SGD with Nesterov momentum at 0.1, weight decay, MultiStepLR per epoch, gradients cleared after the step; sound. change: nothing."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def fronds(n, g):
    t = torch.linspace(-1, 1, 16)
    yy, xx = torch.meshgrid(t, t, indexing="ij")
    y = torch.randint(0, 4, (n,), generator=g)
    phase = torch.rand(n, 1, 1, generator=g) * 6.28
    lean = (torch.rand(n, 1, 1, generator=g) - 0.5) * 0.6
    freq = torch.tensor([5.0, 9.0, 5.0, 9.0])[y].view(-1, 1, 1)
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0])[y].view(-1, 1, 1)
    u = yy[None] + sign * (xx[None] - lean).abs()
    img = torch.sin(freq * u + phase) * (1 - xx[None].abs()) + 0.5 * torch.randn(n, 16, 16, generator=g)
    return img.unsqueeze(1), y


def conv3x3(i, o, stride=1):
    return nn.Conv2d(i, o, 3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(i, o, stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv3x3(o, o), nn.BatchNorm2d(o)
        self.shortcut = nn.Sequential()
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride=stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Sequential(conv3x3(1, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 16, 2), BasicBlock(16, 32, 2))
        self.linear = nn.Linear(32, classes)

    def forward(self, x):
        out = self.layers(self.stem(x))
        return self.linear(F.avg_pool2d(out, 4).flatten(1))


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(11)
    x, y = fronds(2400, g)
    net = ResNet()
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return dict(model=net, optimizer=opt, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.MultiStepLR(opt, [5, 7], gamma=0.1),
                train_loader=DataLoader(TensorDataset(x[:2000], y[:2000]), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[2000:], y[2000:]), 200))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        total = 0.0
        for images, labels in p["train_loader"]:
            loss = p["loss_fn"](net(images), labels)
            loss.backward()
            opt.step()
            opt.zero_grad()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    net.eval()
    with torch.no_grad():
        hits = sum((net(a).argmax(1) == b).sum().item() for a, b in p["val_loader"])
    score = hits / 400
    print(f"score: {score:.4f}")
