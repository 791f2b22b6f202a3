"""The last figure of a house number (scikit-learn's digits with a neighbour poking in), a small capsule network with routing by agreement and margin loss; unusual: the outputs are lengths of vectors between 0 and 1, there is no softmax over classes, and part of the routing runs without gradient."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def squash(v):
    n2 = (v ** 2).sum(-1, keepdim=True)
    return n2 / (1 + n2) * v / (n2 + 1e-8).sqrt()


class CapsNet(nn.Module):
    def __init__(self, d_in=8, d_out=8, kinds=4):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.primary = nn.Conv2d(32, kinds * d_in, 3, stride=2, padding=1)
        self.d_in, n = d_in, kinds * 16
        self.W = nn.Parameter(torch.randn(n, 10, d_in, d_out) * 0.15)

    def forward(self, x, iterations=2):
        h = self.primary(torch.relu(self.conv(x)))
        u = squash(h.reshape(len(x), -1, self.d_in, 16).transpose(2, 3).reshape(len(x), -1, self.d_in))
        u_hat = torch.einsum("bnd,nkde->bnke", u, self.W)
        logits = torch.zeros(u_hat.shape[:3])
        frozen = u_hat.detach()  # only the last iteration passes gradients
        for _ in range(iterations):
            v = squash((logits.softmax(2).unsqueeze(-1) * frozen).sum(1))
            logits = logits + (frozen * v.unsqueeze(1)).sum(-1)
        v = squash((logits.softmax(2).unsqueeze(-1) * u_hat).sum(1))
        return v.norm(dim=-1)


def margin_loss(lengths, target):
    onehot = nn.functional.one_hot(target, 10).float()
    present = onehot * torch.relu(0.9 - lengths) ** 2
    absent = 0.5 * (1 - onehot) * torch.relu(lengths - 0.1) ** 2
    return (present + absent).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    # the left neighbour of the figure pokes into the picture
    rng = np.random.default_rng(0)
    imgs = d.images.copy()
    other = imgs[rng.permutation(len(imgs))]
    imgs[:, :, 0] = np.maximum(imgs[:, :, 0], 0.6 * other[:, :, 6])
    x, y = torch.tensor(imgs / 16, dtype=torch.float32)[:, None], torch.tensor(d.target)
    perm = torch.randperm(len(x))
    tr, va = perm[:1397], perm[1397:]
    model = CapsNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": margin_loss,
            "train_loader": DataLoader(TensorDataset(x[tr], y[tr]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=200),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.92

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch} margin loss {np.mean(losses):.4f} acc {acc:.4f}")
    print("score:", acc)
