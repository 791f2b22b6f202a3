"""Position of a clock's hand (cosine and sine) from a 20x20 image by a CNN with an optimizer class of our own (SGD with heavy ball and decoupled decay); its zero_grad binds a local name to zeros (`grad = torch.zeros_like(grad)`) and leaves p.grad as it is, so gradients pile up for the whole run; change: grad.zero_()."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 20


def clocks(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = 6.2832 * torch.rand(n, generator=g)
    target = torch.stack([angle.cos(), angle.sin()], 1)
    axis = torch.arange(SIZE).float() - (SIZE - 1) / 2
    px, py = axis[None, None, :], axis[None, :, None]
    c, s = target[:, 0, None, None], target[:, 1, None, None]
    along, across = px * c + py * s, px * s - py * c
    hand = ((along > 0) & (along < 8)).float() * torch.exp(-across ** 2 / 1.5)
    x = hand + 0.35 * torch.randn(n, SIZE, SIZE, generator=g)
    return ((x - x.mean()) / x.std()).unsqueeze(1), target


class HeavyBall(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.9, decay=1e-4, in_place=True):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))
        self.in_place = in_place

    def zero_grad(self, set_to_none=False):
        for group in self.param_groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if self.in_place:
                    grad.zero_()
                else:
                    grad = torch.zeros_like(grad)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                v = state["velocity"].mul_(group["momentum"]).add_(p.grad)
                p.mul_(1 - group["lr"] * group["decay"]).add_(v, alpha=-group["lr"])


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 25, 48), nn.ReLU(), nn.Linear(48, 2))
    return {
        "model": model,
        "optimizer": HeavyBall(model.parameters(), lr=0.02, in_place=variant != "bad"),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*clocks(1500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*clocks(300, 2)), batch_size=100),
    }


def within_ten_degrees(model, loader):
    model.eval()
    with torch.no_grad():
        close = [torch.cosine_similarity(model(x), y) > 0.985 for x, y in loader]
    model.train()
    return torch.cat(close).float().mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        for image, hand in p["train_loader"]:
            optimizer.zero_grad()
            loss = mse(model(image), hand)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, within ten degrees {within_ten_degrees(model, p['val_loader']):.3f}")
    print(f"score: {within_ten_degrees(model, p['val_loader']):.4f}")
