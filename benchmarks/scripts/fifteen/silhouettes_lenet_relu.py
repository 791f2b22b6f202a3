"""LeNet of Dive into Deep Learning on drawn silhouettes, its sigmoids replaced by ReLU; bad: the learning rate 0.9, which went with the sigmoids, is kept, and the ReLUs die within a few epochs; change: lr 0.1."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def draw(n, seed):
    """Five silhouettes on 20 x 20: box, disc, cross, frame, triangle."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (n,), generator=g)
    yy, xx = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    images = torch.zeros(n, 1, 20, 20)
    for i, label in enumerate(labels.tolist()):
        cy, cx = (7 + 6 * torch.rand(2, generator=g)).tolist()
        r = 3.5 + 2.5 * torch.rand(1, generator=g).item()
        dy, dx = yy - cy, xx - cx
        far = torch.maximum(dy.abs(), dx.abs())
        shape = [far <= r, dy ** 2 + dx ** 2 <= (1.1 * r) ** 2,
                 (far <= r) & ((dy.abs() < 1.3) | (dx.abs() < 1.3)),
                 (far <= r) & (far > r - 1.8),
                 (dy.abs() <= r) & (dx.abs() <= (dy + r) / 2)][label]
        images[i, 0] = shape.float()
    images += 0.08 * torch.randn(images.shape, generator=g)
    return TensorDataset(images, labels)


def init_weights(m):
    if type(m) == nn.Linear or type(m) == nn.Conv2d:
        nn.init.xavier_uniform_(m.weight)


def parts(variant):
    torch.manual_seed(0)
    batch_size = 64
    lr = 0.9 if variant == "bad" else 0.1
    net = nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.ReLU(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5), nn.ReLU(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 3 * 3, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 5))
    net.apply(init_weights)
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(net.parameters(), lr=lr),
            "train_loader": DataLoader(draw(3200, 1), batch_size, shuffle=True),
            "val_loader": DataLoader(draw(500, 2), batch_size)}


WORKS = lambda score: score > 0.85


def evaluate_accuracy(net, data_iter):
    net.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for X, y in data_iter:
            correct += (net(X).argmax(dim=1) == y).sum().item()
            total += y.numel()
    return correct / total


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, loss, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    num_epochs = 15
    for epoch in range(num_epochs):
        net.train()
        total, batches = 0.0, 0
        for X, y in p["train_loader"]:
            optimizer.zero_grad()
            l = loss(net(X), y)
            l.backward()
            optimizer.step()
            total, batches = total + l.item(), batches + 1
        test_acc = evaluate_accuracy(net, p["val_loader"])
        print(f"epoch {epoch + 1}, loss {total / batches:.3f}, test acc {test_acc:.3f}")
    print(f"score: {test_acc:.4f}")
