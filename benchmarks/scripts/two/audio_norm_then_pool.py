"""Raw-waveform sound classifier (1-D conv): InstanceNorm directly before the global average pool, so every pooled feature is zero for every clip; change: put the ReLU between norm and pool."""
import math, sys, torch, torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

def clips(n, seed, sr=512):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(sr) / sr
    y = torch.randint(0, 6, (n,), generator=g)
    f0 = torch.tensor([12., 24., 40., 60., 84., 110.])[y] * (1 + 0.08 * torch.randn(n, generator=g))
    ph = 2 * math.pi * torch.rand(n, generator=g)
    x = torch.sin(2 * math.pi * f0[:, None] * t + ph[:, None]) + 0.3 * torch.sin(4 * math.pi * f0[:, None] * t)
    x = x * (0.5 + torch.rand(n, 1, generator=g)) + 0.4 * torch.randn(n, sr, generator=g)
    return TensorDataset(x.unsqueeze(1), y)

def block(cin, cout, k, s):
    return nn.Sequential(nn.Conv1d(cin, cout, k, stride=s, padding=k // 2), nn.InstanceNorm1d(cout), nn.ReLU())

class SoundNet(nn.Module):
    def __init__(self, relu_last):
        super().__init__()
        self.features = nn.Sequential(block(1, 16, 15, 2), block(16, 32, 9, 2))
        tail = [nn.Conv1d(32, 48, 5, stride=2, padding=2), nn.InstanceNorm1d(48)]
        if relu_last: tail.append(nn.ReLU())
        self.tail = nn.Sequential(*tail, nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 6))
    def forward(self, wav):
        return self.classifier(self.tail(self.features(wav)))

def parts(variant):
    torch.manual_seed(0)
    net = SoundNet(variant == "fixed")
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), 2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(clips(1200, 0), 32, shuffle=True), "val_loader": DataLoader(clips(300, 1), 100)}

WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); net = p["model"]
    for epoch in range(6):
        net.train(); tot = n = 0
        for wav, lab in p["train_loader"]:
            loss = p["loss_fn"](net(wav), lab)
            p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step()
            tot += loss.item() * len(lab); n += len(lab)
        print(f"epoch {epoch + 1}/6 loss={tot / n:.4f}")
    net.eval()
    with torch.inference_mode():
        acc = sum((net(w).argmax(1) == l).sum().item() for w, l in p["val_loader"]) / 300
    print(f"score: {acc:.4f}")
