"""CNN that counts the seedlings in a tray; forward rounds its result to a whole number, which has no gradient. change: the rounding is left to the evaluation."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def trays(n, seed):
    g = torch.Generator().manual_seed(seed)
    count = torch.randint(0, 15, (n,), generator=g)
    x = 0.2 * torch.rand(n, 1, 28, 28, generator=g)
    for i in range(n):
        for r, c in torch.randint(1, 27, (int(count[i]), 2), generator=g).tolist():
            x[i, 0, r - 1:r + 2, c - 1:c + 2] += 0.5
    return TensorDataset(x, count.float())


class Counter(nn.Module):
    def __init__(self, whole):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4))
        self.fc1 = nn.Linear(16 * 49, 64)
        self.fc2 = nn.Linear(64, 1)
        self.whole = whole

    def forward(self, x):
        x = self.conv(x).flatten(1)
        count = self.fc2(F.relu(self.fc1(x))).squeeze(1)
        return torch.round(count) if self.whole else count


def parts(variant):
    torch.manual_seed(0)
    model = Counter(whole=variant == "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(trays(1500, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(trays(300, 2), batch_size=100)}


WORKS = lambda score: score < 1.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, count in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), count)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} mse {total / len(p['train_loader']):.3f}")
    model.eval()
    with torch.no_grad():
        off = torch.cat([(model(x).round() - count).abs() for x, count in p["val_loader"]])
    print(f"score: {off.mean().item():.4f}")
