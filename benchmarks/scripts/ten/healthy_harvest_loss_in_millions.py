"""Sound: grain harvest (kg per field, 2,000 to 16,000) out of weather series by a GRU; the model itself scales its output back to kilograms, so targets are of 10^4 and the squared error of 10^6, which Adam does not mind."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WEEKS = 20


def seasons(n, seed):
    g = torch.Generator().manual_seed(seed)
    week = torch.linspace(0, 1, WEEKS)
    warm = 12 + 10 * torch.sin(3.14 * week) + 3 * torch.randn(n, 1, generator=g) + 2 * torch.randn(n, WEEKS, generator=g)
    rain = 14 * torch.rand(n, 1, generator=g) + 12 * torch.rand(n, WEEKS, generator=g)
    soil, growth = torch.full((n,), 15.0), torch.zeros(n)
    for k in range(WEEKS):
        soil = (0.8 * soil + 0.3 * rain[:, k] - 0.1 * warm[:, k]).clamp(0, 25)
        growth = growth + (warm[:, k] - 8).clamp(min=0) * torch.sigmoid((soil - 8) / 2)
    kg = 3000 + 55 * growth + 250 * torch.randn(n, generator=g)
    x = torch.stack([(warm - 18) / 5, (rain - 13) / 6], -1)
    return x, kg[:, None]


class HarvestNet(nn.Module):
    def __init__(self, mean, std, hidden=32):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, weather):
        _, last = self.gru(weather)
        return self.mean + self.std * self.head(last[-1])


def parts(variant):
    torch.manual_seed(0)
    x, kg = seasons(1200, 1)
    model = HarvestNet(kg.mean(), kg.std())
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(x, kg), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*seasons(300, 2)), batch_size=100),
        "metric": lambda output, target: (1 - (output - target).square().mean() / target.var()).item(),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, ref = (torch.cat(t) for t in zip(*[(model(x), kg) for x, kg in loader]))
    model.train()
    return (1 - (out - ref).square().mean() / ref.var()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        total = 0.0
        for weather, kg in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(weather), kg)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):,.0f} kg2, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
