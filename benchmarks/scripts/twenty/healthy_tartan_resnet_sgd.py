"""Sound small ResNet on tartan patterns: SGD with lr=0.1, momentum and weight decay, as in the papers, convolutions without bias before BatchNorm; no softmax at the end because the loss takes logits."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.shortcut = nn.Sequential()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class TinyResNet(nn.Module):
    def __init__(self, num_classes=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.layers = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 16, 2), BasicBlock(16, 32, 2))
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x):
        out = self.layers(self.stem(x))
        out = out.mean(dim=(2, 3))
        return self.linear(out)


def tartans(n, gen, setts, size=16):
    """Each clan has a sett: a repeating row of colours, woven both ways from a random thread on."""
    labels = torch.randint(0, len(setts), (n,), generator=gen)
    starts = torch.randint(0, 12, (n, 2), generator=gen)
    images = torch.empty(n, 3, size, size)
    for i in range(n):
        sett = setts[labels[i]]
        warp = sett[:, (torch.arange(size) + starts[i, 0]) % 12]
        weft = sett[:, (torch.arange(size) + starts[i, 1]) % 12]
        images[i] = 0.5 * (warp[:, None, :] + weft[:, :, None])
    light = 0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=gen)
    images = images * light + 0.25 * torch.randn(images.shape, generator=gen)
    mean, std = images.mean(dim=(0, 2, 3), keepdim=True), images.std(dim=(0, 2, 3), keepdim=True)
    return TensorDataset((images - mean) / std, labels)


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(44)
    setts = torch.rand(8, 3, 4, generator=gen).repeat_interleave(3, dim=2)
    train, val = tartans(1500, gen, setts), tartans(400, gen, setts)
    net = TinyResNet()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
        "val_loader": DataLoader(val, batch_size=100),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(15):
        net.train()
        train_loss, correct, total = 0, 0, 0
        for inputs, targets in p["train_loader"]:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
            correct += outputs.argmax(1).eq(targets).sum().item()
            total += targets.size(0)
        net.eval()
        with torch.no_grad():
            val_ok = sum(net(x).argmax(1).eq(y).sum().item() for x, y in p["val_loader"])
        score = val_ok / len(p["val_loader"].dataset)
        print("Epoch %d | loss %.3f | train %.3f | val %.3f" % (epoch, train_loss / len(p["train_loader"]), correct / total, score))
    print(f"score: {score:.4f}")
