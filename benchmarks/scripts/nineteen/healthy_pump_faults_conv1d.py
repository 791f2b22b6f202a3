"""Which of four faults a pump has, from a second of vibration, Conv1d with strides and group norm; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def vibration(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(128.)
    y = torch.randint(4, (n,), generator=g)
    phase = torch.rand(n, 3, generator=g) * 6.28
    f = 0.35 + 0.05 * torch.rand(n, 1, generator=g)
    x = torch.sin(f * t + phase[:, :1])
    x = x + (y == 1).float()[:, None] * 0.7 * torch.sin(2 * f * t + phase[:, 1:2])
    x = x + (y == 2).float()[:, None] * (torch.remainder(t + 20 * phase[:, 2:3], 32) < 2).float() * 2
    x = x * (1 + (y == 3).float()[:, None] * 0.7 * torch.sin(0.05 * t + phase[:, 2:3]))
    return (x + 0.3 * torch.randn(n, 128, generator=g)).unsqueeze(1), y


class FaultNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.GroupNorm(4, 16), nn.SiLU(),
            nn.Conv1d(16, 32, 5, stride=2, padding=2), nn.GroupNorm(4, 32), nn.SiLU(),
            nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.GroupNorm(4, 32), nn.SiLU())
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        h = self.features(x)
        return self.head(torch.cat([h.mean(2), h.amax(2)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = FaultNet()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=6, gamma=0.3),
                train_loader=DataLoader(TensorDataset(*vibration(1200, 1)), batch_size=40, shuffle=True),
                val_loader=DataLoader(TensorDataset(*vibration(400, 2)), batch_size=200))


# accuracy
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(14):
        model.train()
        run = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            run += loss.item()
        p["scheduler"].step()
        print(f"{epoch + 1:2d} {run / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
