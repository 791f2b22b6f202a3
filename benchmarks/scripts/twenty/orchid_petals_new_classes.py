"""Fine tuning for four classes: frozen pretrained body, new last layer; bad: the optimizer is made before model.fc is replaced, so it holds the parameters of the old head and the new one never changes; change: the optimizer is made afterwards."""
import sys
import torch
import torch.nn as nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset


def petals(n, classes, seed, size=16):
    """Flowers: the class is the number of petals, colours and rotation are free."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, len(classes), (n,), generator=g)
    k = torch.tensor(classes)[labels].float().view(-1, 1, 1)
    lin = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(lin, lin, indexing="ij")
    turn = 6.283 * torch.rand(n, 1, 1, generator=g)
    radius = 0.55 + 0.3 * torch.cos(k * torch.atan2(y, x) + turn)
    shape = ((x * x + y * y).sqrt() < radius).float()[:, None]
    colour = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, generator=g)
    images = shape * colour + 0.1 * torch.randn(n, 3, size, size, generator=g)
    return (images - 0.35) / 0.35, labels


class ConvNet(nn.Module):
    def __init__(self, num_classes=1000):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2))
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(48 * 16, 64), nn.ReLU())
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.embed(x))


def load_pretrained():
    model = ConvNet(num_classes=6)
    loader = DataLoader(TensorDataset(*petals(2000, [1, 2, 3, 4, 5, 6], seed=1)), batch_size=64, shuffle=True)
    opt = Adam(model.parameters(), lr=2e-3)
    for _ in range(5):
        for x, y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            opt.step()
    return model


def parts(variant):
    torch.manual_seed(0)
    model = load_pretrained()
    for param in model.parameters():
        param.requires_grad = False
    if variant == "bad":
        optimizer = Adam(model.parameters(), lr=3e-3)
        model.fc = nn.Linear(64, 4)
    else:
        model.fc = nn.Linear(64, 4)
        optimizer = Adam(model.parameters(), lr=3e-3)
    new_classes = [2, 3, 5, 7]
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*petals(400, new_classes, seed=2)), batch_size=20, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*petals(300, new_classes, seed=3)), batch_size=100),
    }


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        tot = 0.0
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            acc = torch.cat([model(images).argmax(1) == labels for images, labels in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch:2d}  loss {tot / len(p['train_loader']):.4f}  val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
