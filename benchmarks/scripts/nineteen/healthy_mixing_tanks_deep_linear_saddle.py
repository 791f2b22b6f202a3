"""Concentrations in tanks from the inflows by five linear layers in a row with small weights (a study of deep linear nets); the loss stays flat for long and then falls; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def tanks(n, seed):
    mix = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(3)))[0]
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=g)
    y = x @ mix.T * torch.tensor([2.0, 1.7, 1.5, 1.3] + [0.0] * 6) @ mix
    return x, y + 0.05 * torch.randn(n, 10, generator=g)


class DeepLinear(nn.Module):
    def __init__(self, depth=4, width=24, std=0.05):
        super().__init__()
        sizes = [10] + [width] * (depth - 1) + [10]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in zip(sizes[:-1], sizes[1:]))
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=std)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def parts(variant):
    torch.manual_seed(0)
    model = DeepLinear()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(*tanks(1024, 1)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*tanks(256, 2)), batch_size=256))


# R2
WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(60):
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        score = 1 - (model(x) - y).pow(2).mean() / y.var()
    print(f"score: {score:.4f}")
