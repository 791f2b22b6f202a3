"""Sound: the residual layers of a regression net stand in a plain Python list and model.parameters() does not know them, but the program collects their parameters by hand and gives all of them to the optimizer (Adam)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def robots(n, seed):
    """Height of the hand of a four-joint arm, from its angles."""
    g = torch.Generator().manual_seed(seed)
    angle = (torch.rand(n, 4, generator=g) - 0.5) * 3.0
    lengths = torch.tensor([1.0, 0.8, 0.6, 0.4])
    hand = (lengths * torch.sin(angle.cumsum(1))).sum(1, keepdim=True)
    return angle / 0.87, hand / hand.std() + 0.02 * torch.randn(n, 1, generator=g)


class ArmNet(nn.Module):
    def __init__(self, width=48, depth=4):
        super().__init__()
        self.inlet = nn.Linear(4, width)
        self.layers = [nn.Sequential(nn.Linear(width, width), nn.SiLU()) for _ in range(depth)]
        self.outlet = nn.Linear(width, 1)

    def everything(self):
        yield from self.inlet.parameters()
        for layer in self.layers:
            yield from layer.parameters()
        yield from self.outlet.parameters()

    def forward(self, x):
        h = self.inlet(x)
        for layer in self.layers:
            h = h + layer(h)
        return self.outlet(h)


def parts(variant):
    torch.manual_seed(0)
    model = ArmNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(list(model.everything()), lr=2e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*robots(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*robots(600, 2)), batch_size=300),
    }


@torch.no_grad()
def r2(model, loader):
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return 1 - ((out - y) ** 2).sum().item() / ((y - y.mean()) ** 2).sum().item()


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
