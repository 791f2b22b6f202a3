"""Estimates the rain rate in mm/h from the optical sensor and the wiper current of a car (two traces of 64 samples).
The network calls F.dropout without the training flag, so features are also dropped at random in evaluation and in use; the right change: F.dropout(h, self.rate, training=self.training)."""
import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def drive(n, seed):
    g = torch.Generator().manual_seed(seed)
    rain = 12 * torch.rand(n, generator=g) ** 1.5
    t = torch.arange(64).float()
    speed = 0.15 + 0.05 * rain.sqrt() + 0.02 * torch.randn(n, generator=g)
    phase = 6.28 * torch.rand(n, generator=g)
    current = torch.sin(6.28 * speed[:, None] * t / 4 + phase[:, None]).clamp(min=0)
    drops = torch.rand(n, 64, generator=g) < (0.02 + 0.05 * rain)[:, None]
    sizes = 0.3 + 0.05 * rain[:, None] + 0.15 * torch.randn(n, 64, generator=g)
    optical = 1.0 - drops * sizes
    daylight = 0.2 * torch.randn(n, 1, generator=g)
    x = torch.stack([optical + daylight, current], 1) + 0.05 * torch.randn(n, 2, 64, generator=g)
    return x, ((rain - 4.8) / 3.6).unsqueeze(1)


class RainNet(nn.Module):
    def __init__(self, rate, switchable):
        super().__init__()
        self.rate, self.switchable = rate, switchable
        self.conv1 = nn.Conv1d(2, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv1d(16, 24, 5, stride=2, padding=2)
        self.fc1 = nn.Linear(24 * 2, 12)
        self.fc2 = nn.Linear(12, 1)

    def drop(self, h):
        if self.switchable:
            return F.dropout(h, self.rate, training=self.training)
        return F.dropout(h, self.rate)

    def forward(self, x):
        h = F.relu(self.conv1(x - x.mean(-1, keepdim=True)))
        h = F.relu(self.conv2(h))
        h = torch.cat([h.mean(-1), h.amax(-1)], 1)
        h = F.relu(self.fc1(h))
        return self.fc2(self.drop(h))


def r_squared(output, target):
    return 1 - ((output - target) ** 2).mean().item() / target.var().item()


def parts(variant):
    torch.manual_seed(8)
    model = RainNet(0.7, switchable=variant != "bad")
    return {"model": model, "loss_fn": nn.MSELoss(), "metric": r_squared,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "train_loader": DataLoader(TensorDataset(*drive(3000, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*drive(1000, 2)), batch_size=1000)}


WORKS = lambda score: score > 0.75


def main(variant):
    p = parts(variant)
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        for trace, rate in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](net(trace), rate)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            trace, rate = next(iter(p["val_loader"]))
            score = p["metric"](net(trace), rate)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train {loss.item():.3f}, R2 {score:.3f}")
    print("score:", score)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bad")
