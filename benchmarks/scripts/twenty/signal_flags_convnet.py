"""Small CNN that reads 24 maritime signal flags; bad: forward ends in softmax and the loss is CrossEntropyLoss, which takes logits; change: forward returns the raw scores."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

NUM_CLASSES = 24


class FlagNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(32 * 4 * 4, 96)
        self.fc2 = nn.Linear(96, NUM_CLASSES)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


class FlagClassifier(FlagNet):
    def forward(self, x):
        x = super().forward(x)
        return F.softmax(x, dim=1)


def make_flags(n):
    """16x16 colour flags: four by four patches of colour, shifted, faded and noisy."""
    designs = torch.rand(NUM_CLASSES, 3, 4, 4).round()
    labels = torch.randint(0, NUM_CLASSES, (n,))
    flags = F.interpolate(designs[labels], scale_factor=4, mode="nearest")
    shifts = torch.randint(-2, 3, (n, 2)).tolist()
    flags = torch.stack([torch.roll(f, tuple(s), (1, 2)) for f, s in zip(flags, shifts)])
    fade = 0.5 + 0.5 * torch.rand(n, 1, 1, 1)
    flags = (flags * fade + 0.15 * torch.randn_like(flags)).clamp(0, 1)
    return (flags - 0.5) / 0.5, labels


def parts(variant):
    torch.manual_seed(0)
    images, labels = make_flags(3000)
    trainset, valset = random_split(TensorDataset(images, labels), [2400, 600])
    net = FlagClassifier() if variant == "bad" else FlagNet()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(trainset, batch_size=32, shuffle=True),
        "val_loader": DataLoader(valset, batch_size=100),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        running_loss = 0.0
        net.train()
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        net.eval()
        correct, total = 0, 0
        with torch.no_grad():
            for inputs, labels in p["val_loader"]:
                predicted = net(inputs).argmax(1)
                total += labels.size(0)
                correct += (predicted == labels).sum().item()
        score = correct / total
        print(f"[{epoch + 1}] loss: {running_loss / len(p['train_loader']):.3f}  val acc: {score:.3f}")
    print(f"score: {score:.4f}")
