"""CNN on 24x24 pictures of rosettes (number of petals, five classes) trained with RMSprop; mistake: lr=0.1, as one writes it for SGD, the first steps kill the network and the loss stands at log 5 or above; change: lr=1e-3."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 24
PETALS = [3, 4, 5, 6, 8]


def rosettes(n, seed):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, len(PETALS), (n,), generator=g)
    k = torch.tensor(PETALS)[label].float().view(n, 1, 1)
    turn = (torch.rand(n, 1, 1, generator=g) * 2 * math.pi)
    grid = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(grid, grid, indexing="ij")
    cx = (torch.rand(n, 1, 1, generator=g) - 0.5) * 0.2
    cy = (torch.rand(n, 1, 1, generator=g) - 0.5) * 0.2
    r = torch.sqrt((xx - cx) ** 2 + (yy - cy) ** 2)
    a = torch.atan2(yy - cy, xx - cx)
    edge = 0.6 + 0.3 * torch.cos(k * a + turn)
    img = torch.sigmoid((edge - r) * 20) + 0.1 * torch.randn(n, SIZE, SIZE, generator=g)
    return TensorDataset((img.unsqueeze(1) - 0.4) / 0.45, label)


class PetalNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 3 * 3, 64)
        self.fc2 = nn.Linear(64, len(PETALS))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def parts(variant):
    torch.manual_seed(0)
    net = PetalNet()
    lr = 0.1 if variant == "bad" else 1e-3
    return dict(model=net, optimizer=torch.optim.RMSprop(net.parameters(), lr=lr), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(rosettes(2000, 21), batch_size=50, shuffle=True),
                val_loader=DataLoader(rosettes(500, 22), batch_size=100))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(8):
        net.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"[{epoch + 1}] loss: {running / len(p['train_loader']):.3f}")
    net.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in p["val_loader"]:
            predicted = net(images).argmax(1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"score: {correct / total:.4f}")
