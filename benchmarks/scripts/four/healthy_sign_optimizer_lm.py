"""Healthy: n-gram neural language model with tied embeddings, bf16 autocast, two batches accumulated, and an optimizer of its own that steps by the sign at a small rate."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

V, CONTEXT = 40, 4


class Lion(Optimizer):
    def __init__(self, params, lr=2e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for q in group["params"]:
                if q.grad is None:
                    continue
                m = self.state[q].setdefault("m", torch.zeros_like(q))
                q.mul_(1 - group["lr"] * group["weight_decay"])
                q.add_(torch.sign(m * b1 + q.grad * (1 - b1)), alpha=-group["lr"])
                m.mul_(b2).add_(q.grad, alpha=1 - b2)


def stream(n, seed):
    """A text in which the next symbol follows from the last two, nine times in ten."""
    rule = torch.randint(0, V, (V, 6), generator=torch.Generator().manual_seed(31))
    g = torch.Generator().manual_seed(seed)
    noise, pick = torch.rand(n, generator=g), torch.randint(0, V, (n,), generator=g)
    s = [0, 1]
    for i in range(2, n):
        s.append(int(rule[s[-1], s[-2] % 6]) if noise[i] < 0.9 else int(pick[i]))
    w = torch.tensor(s).unfold(0, CONTEXT + 1, 1)
    return TensorDataset(w[:, :CONTEXT], w[:, CONTEXT])


class NGram(nn.Module):
    def __init__(self, d=48, h=256):
        super().__init__()
        self.embed = nn.Embedding(V, d)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.f = nn.Sequential(nn.Linear(CONTEXT * d, h), nn.GELU(), nn.LayerNorm(h), nn.Linear(h, d))
        self.decoder = nn.Linear(d, V)
        self.decoder.weight = self.embed.weight

    def forward(self, ids):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.decoder(self.f(self.embed(ids).flatten(1)))
        return out.float()


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = NGram()
    return {"model": net, "optimizer": Lion(net.parameters(), lr=3e-4, weight_decay=0.1), "loss_fn": F.cross_entropy, "accumulate": 2,
            "train_loader": DataLoader(stream(12000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(stream(3000, 2), batch_size=500),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, k = p["model"], p["optimizer"], p["accumulate"]
    for epoch in range(20):
        net.train()
        total = 0.0
        opt.zero_grad()
        for i, (x, y) in enumerate(p["train_loader"], 1):
            loss = p["loss_fn"](net(x), y)
            (loss / k).backward()
            if i % k == 0 or i == len(p["train_loader"]):
                opt.step()
                opt.zero_grad()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            acc = [p["metric"](net(x), y) for x, y in p["val_loader"]]
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} next symbol {sum(acc) / len(acc):.4f}")
    print(f"score: {sum(acc) / len(acc):.4f}")
