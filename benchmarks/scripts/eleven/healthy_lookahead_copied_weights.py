"""Sound: Lookahead; the optimizer keeps deep copies (slow weights) of all parameters and every sixth step puts the model back half-way to them; positions of peaks in a spectrum."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Lookahead(torch.optim.Optimizer):
    def __init__(self, params, lr=0.05, momentum=0.9, k=6, alpha=0.5):
        super().__init__(params, dict(lr=lr, momentum=momentum))
        self.k, self.alpha, self.count = k, alpha, 0
        self.slow = [[p.detach().clone() for p in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.count += 1
        for group, slow in zip(self.param_groups, self.slow):
            for p, s in zip(group["params"], slow):
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].mul_(group["momentum"]).add_(p.grad)
                p.add_(state["momentum"], alpha=-group["lr"])
                if self.count % self.k == 0:
                    s.add_(p - s, alpha=self.alpha)
                    p.copy_(s)
        return loss


def spectra(n, seed):
    g = torch.Generator().manual_seed(seed)
    f = torch.linspace(0, 1, 64)
    a = 0.1 + 0.35 * torch.rand(n, 1, generator=g)
    b = 0.55 + 0.35 * torch.rand(n, 1, generator=g)
    s = torch.exp(-0.5 * ((f - a) / 0.03) ** 2) + 0.7 * torch.exp(-0.5 * ((f - b) / 0.04) ** 2)
    s = s + 0.05 * torch.randn(n, 64, generator=g)
    s = (s - 0.13) / 0.28
    return s[:, None], (torch.cat([a, b], 1) - torch.tensor([0.275, 0.725])) / 0.1


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 24, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(24 * 16, 48), nn.ReLU(), nn.Linear(48, 2),
    )
    return {
        "model": model,
        "optimizer": Lookahead(model.parameters(), lr=0.03),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*spectra(2000, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*spectra(400, 2)), batch_size=200),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, y = torch.cat([model(x) for x, _ in loader]), torch.cat([y for _, y in loader])
    return (1 - ((out - y) ** 2).mean() / y.var()).item()


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.4f} r2 {r2(p['model'], p['val_loader']):.4f}")
    print(f"score: {r2(p['model'], p['val_loader']):.4f}")
