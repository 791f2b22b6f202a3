"""Activity recognition from accelerometer windows: the classifier nn.Linear is made inside forward ("size not known before"), new and random at every call; change: create it once in __init__ (or LazyLinear)."""
import sys, math
import torch, torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

def windows(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g); t = torch.arange(60) / 20.0
    f, a = torch.tensor([0.05, 1.0, 2.0, 3.2])[y], torch.tensor([0.1, 1.0, 1.0, 1.6])[y]
    ph = 2 * math.pi * torch.rand(n, 3, 1, generator=g)
    x = a[:, None, None] * torch.sin(2 * math.pi * f[:, None, None] * t + ph) + 0.5 * torch.randn(n, 3, 60, generator=g)
    return TensorDataset(x, y)

class HARNet(nn.Module):
    def __init__(self, lazy):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(3, 32, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 32, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten())
        self.fc = None
        if lazy:
            self.fc = nn.Linear(self.net(torch.zeros(1, 3, 60)).shape[1], 4)
    def forward(self, x):
        x = self.net(x)
        fc = self.fc or nn.Linear(x.shape[1], 4)
        return fc(x)

def parts(variant):
    torch.manual_seed(0)
    net = HARNet(variant == "fixed")
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(windows(1600, 0), 32, shuffle=True), "val_loader": DataLoader(windows(400, 1), 100)}

WORKS = lambda s: s > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); net = p["model"]
    for ep in range(8):
        net.train()
        for i, (x, y) in enumerate(p["train_loader"]):
            p["optimizer"].zero_grad(); loss = p["loss_fn"](net(x), y); loss.backward(); p["optimizer"].step()
        print("epoch", ep, "last loss", loss.item())
    net.eval()
    with torch.no_grad():
        print("score:", sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 400)
