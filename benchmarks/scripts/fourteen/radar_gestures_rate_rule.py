"""Small CNN on radar micro-Doppler maps of hand gestures; bad: the linear scaling rule multiplies the base rate by the batch size without dividing by 256, so Adam runs at 0.064 and the ReLUs die. change: base rate * batch size / 256."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 64
BASE_LR = 1e-3


def doppler_maps(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 24)
    f = torch.linspace(-1, 1, 24)[:, None]
    y = torch.randint(0, 6, (n,), generator=g)
    x = torch.empty(n, 1, 24, 24)
    for i in range(n):
        k = int(y[i])
        amp, phase = (torch.rand(2, generator=g) * torch.tensor([0.4, 0.4]) + torch.tensor([0.4, -0.2])).tolist()
        track = [torch.sin(6.28 * t + phase), torch.sin(12.56 * t + phase), 2 * (t + phase) - 1, 1 - 2 * (t + phase),
                 torch.cos(6.28 * t + phase).abs(), -torch.cos(6.28 * t + phase).abs()][k] * amp
        x[i, 0] = torch.exp(-((f - track) / 0.12) ** 2) + 0.25 * torch.randn(24, 24, generator=g)
    return x, y


class GestureNet(nn.Module):
    def __init__(self, n_classes=6):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 24, 3, padding=1)
        self.fc1 = nn.Linear(24 * 9, 64)
        self.fc2 = nn.Linear(64, n_classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = self.pool(torch.relu(self.conv3(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def parts(variant):
    torch.manual_seed(0)
    train = TensorDataset(*doppler_maps(1600, 11))
    val = TensorDataset(*doppler_maps(400, 12))
    model = GestureNet()
    lr = BASE_LR * BATCH if variant == "bad" else BASE_LR * BATCH / 256
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train, BATCH, shuffle=True),
        "val_loader": DataLoader(val, BATCH),
    }


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(12):
        net.train()
        running = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            running += loss.item() * len(y)
        score = evaluate(net, p["val_loader"])
        print(f"epoch {epoch + 1}: loss {running / 1600:.4f} val acc {score:.3f}")
    print(f"score: {score:.4f}")
