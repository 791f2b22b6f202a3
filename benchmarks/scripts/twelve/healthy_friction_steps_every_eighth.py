"""Sound though few calls of optimizer.step: friction of a bearing with gradients summed over 8 small batches of 8 examples (as memory would force), so 7 of 8 backward passes have no step and find gradients of the earlier ones; the loss is divided by 8 and the sums are cleared after each step."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

EVERY = 8


def friction(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    y = torch.sin(1.5 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] - torch.tanh(x[:, 3]) + 0.1 * torch.randn(n, generator=g)
    return x, (y / 1.2).unsqueeze(1)


class Accumulating:
    def __init__(self, every):
        self.every, self.seen = every, 0

    def __call__(self, model, batch, optimizer):
        x, y = batch
        loss = nn.functional.mse_loss(model(x), y)
        (loss / self.every).backward()
        self.seen += 1
        if self.seen % self.every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": nn.MSELoss(),
        "step": Accumulating(EVERY),
        "train_loader": DataLoader(TensorDataset(*friction(3200, 1)), batch_size=8, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*friction(500, 2)), batch_size=250),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, y = map(torch.cat, zip(*[(model(x), y) for x, y in loader]))
    model.train()
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts("fixed")
    for epoch in range(15):
        total = sum(p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"])
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, R2 {r2(p['model'], p['val_loader']):.3f}")
    print(f"score: {r2(p['model'], p['val_loader']):.4f}")
