"""Sound: tanh MLP fitted to the noisy trace of a damped oscillator by L-BFGS with line search, the whole set as one batch, double precision, one step per epoch with a closure; variant is ignored. change: none."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def trace(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(n, 1, generator=g, dtype=torch.float64) * 10
    y = torch.exp(-0.25 * t) * torch.cos(2 * t)
    return TensorDataset(t, y + 0.02 * torch.randn(n, 1, generator=g, dtype=torch.float64))


class Curve(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t):
        return self.net(t / 5 - 1)


def parts(variant):
    torch.manual_seed(0)
    model = Curve().double()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=20, history_size=20, line_search_fn="strong_wolfe")
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        t, y = batch

        def closure():
            optimizer.zero_grad()
            loss = mse(model(t), y)
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    train = trace(300, 1)
    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(train, batch_size=len(train)),
            "val_loader": DataLoader(trace(200, 2), batch_size=200)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(60):
        model.train()
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        if epoch % 6 == 0:
            print(f"round {epoch}: mse {loss.item():.6f}")
    model.eval()
    with torch.no_grad():
        (t, y), = p["val_loader"]
        score = 1 - ((model(t) - y) ** 2).mean().item() / y.var().item()
    print(f"score: {score:.4f}")
