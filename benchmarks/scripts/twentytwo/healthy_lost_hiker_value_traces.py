"""Values of places on a ridge by TD(lambda) with eligibility traces: the gradients are written by hand into .grad, place after place, while the network is trained; unusual: no loss is differentiated, the printed squared error never reaches zero because episodes are random."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
PLACES = 19  # a hut at each end; only the one on the right has soup


class Walks(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.walks = []
        for _ in range(n):
            at, path = PLACES // 2, []
            while 0 <= at < PLACES:
                path.append(at)
                at += int(rng.choice([-1, 1]))
            self.walks.append((path, 1.0 if at == PLACES else -1.0))

    def __len__(self):
        return len(self.walks)

    def __getitem__(self, i):
        return self.walks[i]


class Value(nn.Module):
    """soft bumps along the ridge and a linear read-out"""

    def __init__(self):
        super().__init__()
        self.register_buffer("centres", torch.linspace(-1, 1, 10))
        self.out = nn.Linear(10, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, pos):
        bumps = torch.exp(-(pos[:, None] - self.centres) ** 2 / (2 * 0.2 ** 2))
        return self.out(bumps).squeeze(1)


def position(place):
    return torch.tensor([place / (PLACES - 1) * 2 - 1])


def step(model, batch, optimizer, lam=0.8):
    params = list(model.parameters())
    errors = []
    for path, reward in batch:
        traces = [torch.zeros_like(p) for p in params]
        for k, place in enumerate(path):
            v = model(position(place))
            grads = torch.autograd.grad(v.sum(), params)
            last = k == len(path) - 1
            with torch.no_grad():
                target = reward if last else model(position(path[k + 1])).item()
                delta = target - v.item()
                for p, e, g in zip(params, traces, grads):
                    e.mul_(lam).add_(g)
                    p.grad = -delta * e
            optimizer.step()
            errors.append(delta ** 2)
    return torch.tensor(np.mean(errors))


def parts(variant):
    torch.manual_seed(0)
    model = Value()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.02), "step": step,
            "train_loader": DataLoader(Walks(240, 0), batch_size=1, collate_fn=lambda walks: walks)}


# root mean square error against the known values
WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    truth = torch.arange(1, PLACES + 1) / (PLACES + 1) * 2 - 1
    everywhere = torch.linspace(-1, 1, PLACES)
    recent, fits = [], []
    for i, batch in enumerate(p["train_loader"], 1):
        for g in opt.param_groups:
            g["lr"] = 0.02 / (1 + i / 12)
        recent.append(step(model, batch, opt).item())
        with torch.no_grad():
            fits.append((model(everywhere) - truth).pow(2).mean().sqrt().item())
        if i % 20 == 0:
            print(f"walk {i} mean squared td error {np.mean(recent[-20:]):.4f} rmse {fits[-1]:.4f}")
    print("score:", np.mean(fits[-20:]))
