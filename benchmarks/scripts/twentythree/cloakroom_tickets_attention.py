"""Attention over the hooks of a cloakroom: (ticket, garment) pairs and a ticket asked for, the garment is wanted. The mistake: the attention weights are detached (they were to be kept for a plot), so queries and keys get no gradient through the softmax and never learn to match; the right change: detach only the copy that is kept."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TICKETS, GARMENTS, HOOKS = 20, 8, 10


class Cloakroom(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.tickets = np.stack([rng.permutation(TICKETS)[:HOOKS] for _ in range(n)])
        self.garments = rng.integers(0, GARMENTS, (n, HOOKS))
        self.asked = rng.integers(0, HOOKS, n)

    def __len__(self):
        return len(self.asked)

    def __getitem__(self, i):
        q = self.tickets[i, self.asked[i]]
        x = np.concatenate([self.tickets[i], self.garments[i], [q]])
        return torch.from_numpy(x), int(self.garments[i, self.asked[i]])


class HookAttention(nn.Module):
    def __init__(self, variant, d=32):
        super().__init__()
        self.variant = variant
        self.ticket = nn.Embedding(TICKETS, d)
        self.garment = nn.Embedding(GARMENTS, d)
        self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, GARMENTS))
        self.weights = None

    def forward(self, x):
        tickets, garments, asked = x[:, :HOOKS], x[:, HOOKS:2 * HOOKS], x[:, -1]
        q = self.q(self.ticket(asked))
        k = self.k(self.ticket(tickets))
        v = self.v(self.garment(garments))
        scores = (k @ q[:, :, None]).squeeze(-1) / q.shape[-1] ** 0.5
        if self.variant == "bad":
            self.weights = attn = torch.softmax(scores, dim=1).detach()
        else:
            attn = torch.softmax(scores, dim=1)
            self.weights = attn.detach()
        return self.out((attn[:, None] @ v).squeeze(1))


def parts(variant):
    torch.manual_seed(7)
    net = HookAttention(variant)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Cloakroom(3200, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Cloakroom(600, 2), batch_size=600)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            acc = (net(x).argmax(1) == y).float().mean().item()
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}  right garment {acc:.3f}  sharpest hook {net.weights.max(1).values.mean():.2f}")
    print("score:", acc)
