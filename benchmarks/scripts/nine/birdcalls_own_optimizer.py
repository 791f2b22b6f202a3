"""Calls of five birds in spectrograms, trained with an optimizer of our own (SGD with centralised gradients); its step says `p = p - update`, which binds a name and leaves the weights alone; change: the weights are changed in place."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CentralisedSGD(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad
                if g.dim() > 1:
                    g = g - g.mean(dim=tuple(range(1, g.dim())), keepdim=True)
                buf = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buf.mul_(group["momentum"]).add_(g)
                self.descend(p, group["lr"] * buf)

    def descend(self, p, update):
        p.sub_(update)


class CentralisedSGDRebound(CentralisedSGD):
    def descend(self, p, update):
        p = p - update


def calls(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 5, (n,), generator=g)
    spec = torch.rand(n, 20, 32, generator=g).mul(0.9)               # frequency, time
    for i in range(n):
        f0, t0 = int(torch.randint(4, 14, (1,), generator=g)), int(torch.randint(0, 20, (1,), generator=g))
        for k in range(12):
            up = k // 3
            f = {0: f0 + up, 1: f0 - up, 2: f0, 3: f0 + 3 * (k % 2), 4: f0 + (up if k < 6 else 4 - up)}[int(y[i])]
            spec[i, max(0, min(19, f)), t0 + k] += 1.0
    return ((spec - 0.47) / 0.32).unsqueeze(1), y


def net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveMaxPool2d((2, 4)),
        nn.Flatten(), nn.Linear(256, 5))


def parts(variant):
    torch.manual_seed(0)
    model = net()
    own = CentralisedSGDRebound if variant == "bad" else CentralisedSGD
    return {
        "model": model,
        "optimizer": own(model.parameters(), lr=0.02),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "train_loader": DataLoader(TensorDataset(*calls(1500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*calls(400, 2)), batch_size=200),
    }


@torch.no_grad()
def test(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        seen = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            seen += loss.item()
        print(f"epoch {epoch}  loss {seen / len(p['train_loader']):.3f}  test {test(model, p['val_loader']):.3f}")
    print(f"score: {test(model, p['val_loader']):.4f}")
