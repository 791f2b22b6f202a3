"""Attention over the lines of a recipe finds the amount of the ingredient asked for. Odd, but right: the attention weights come from sparsemax with a hand-written backward pass (torch.autograd.Function), so most weights are exactly zero and get exactly no gradient; the projection's Jacobian on the support is the identity less the mean. Score: held-out R2."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
WORDS, LINES = 30, 12


class Sparsemax(torch.autograd.Function):
    """Euclidean projection of the last axis on the simplex (Martins and Astudillo, 2016)."""

    @staticmethod
    def forward(ctx, scores):
        z, _ = scores.sort(-1, descending=True)
        k = torch.arange(1, scores.size(-1) + 1, dtype=scores.dtype)
        total = z.cumsum(-1) - 1
        size = (z * k > total).sum(-1, keepdim=True)
        tau = total.gather(-1, size - 1) / size
        p = (scores - tau).clamp(min=0)
        ctx.save_for_backward(p > 0)
        return p

    @staticmethod
    def backward(ctx, grad):
        support, = ctx.saved_tensors
        support = support.to(grad.dtype)
        mean = (grad * support).sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
        return support * (grad - mean)


class RecipeReader(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.word = nn.Embedding(WORDS, dim)
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 16))
        self.out = nn.Sequential(nn.Linear(16 + dim, 32), nn.ReLU(), nn.Linear(32, 1))
        self.scale = dim ** -0.5

    def forward(self, inputs):
        lines, amounts, asked = inputs[:, :LINES].long(), inputs[:, LINES:-1], inputs[:, -1].long()
        q, k = self.query(self.word(asked)), self.key(self.word(lines))
        weights = Sparsemax.apply(torch.einsum("bd,bnd->bn", q, k) * self.scale)
        read = torch.einsum("bn,bnv->bv", weights, self.value(amounts.unsqueeze(-1)))
        return self.out(torch.cat([read, self.word(asked)], 1)).squeeze(1)


def write_recipes(n):
    lines = torch.rand(n, WORDS).argsort(1)[:, :LINES]
    amounts = torch.randn(n, LINES)
    pick = torch.randint(0, LINES, (n, 1))
    asked = lines.gather(1, pick)
    strength = torch.linspace(0.8, 1.2, WORDS)
    target = amounts.gather(1, pick).squeeze(1) * strength[asked.squeeze(1)] + 0.1 * torch.randn(n)
    return torch.cat([lines.float(), amounts, asked.float()], 1), target


def r2(pred, y):
    return 1 - ((pred - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(22)
    x, y = write_recipes(5000)
    model = RecipeReader()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(TensorDataset(x[:4400], y[:4400]), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[4400:], y[4400:]), batch_size=600)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(14):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        print(f"epoch {epoch}: loss {loss.item():.3f} R2 {score:.3f}")
    print("score:", score)
