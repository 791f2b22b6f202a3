"""Small CNN for 120 kinds of butterfly wings; its forward pass ends in a softmax and the loss is CrossEntropyLoss, which takes the softmax once more, so the gradient nearly vanishes. change: the network returns the logits."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

KINDS = 120


def wings(n, seed):
    g = torch.Generator().manual_seed(11)
    prototypes = F.interpolate(torch.randn(KINDS, 3, 5, 5, generator=g), size=16, mode="bilinear")
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, KINDS, (n,), generator=g)
    x = prototypes[y] * (0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=g)) + 0.8 * torch.randn(n, 3, 16, 16, generator=g)
    return TensorDataset(x, y)


class WingNet(nn.Module):
    def __init__(self, probabilities):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, padding=1)
        self.conv2 = nn.Conv2d(24, 48, 3, padding=1)
        self.fc = nn.Linear(48 * 16, KINDS)
        self.probabilities = probabilities

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.fc(x.flatten(1))
        return F.softmax(x, dim=1) if self.probabilities else x


def parts(variant):
    torch.manual_seed(0)
    net = WingNet(probabilities=variant == "bad")
    return {"model": net,
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(wings(2400, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(wings(600, 2), batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(8):
        net.train()
        running = 0.0
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            hits = sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        score = hits / 600
        print(f"[{epoch + 1}] loss: {running / len(p['train_loader']):.3f} accuracy: {score:.3f}")
    print(f"score: {score:.4f}")
