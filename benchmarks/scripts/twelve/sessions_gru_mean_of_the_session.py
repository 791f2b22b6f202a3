"""Next item of a shopping session by a GRU, with the session's mean item as context at every position; the mean is over the whole session, later items too, and at use these are not there; change: the mean of the items so far."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

ITEMS, LENGTH, STYLES = 60, 10, 4


def sessions(n, seed):
    world = np.random.default_rng(5)
    follow = np.stack([[world.choice(ITEMS, size=3, replace=False) for _ in range(ITEMS)] for _ in range(STYLES)])
    rng = np.random.default_rng(seed)
    out = np.zeros((n, LENGTH), dtype=np.int64)
    for s in out:
        style = rng.integers(STYLES)
        s[0] = rng.integers(ITEMS)
        for t in range(1, LENGTH):
            s[t] = follow[style, s[t - 1], rng.integers(3)] if rng.random() < 0.85 else rng.integers(ITEMS)
    return torch.from_numpy(out)


class SessionGRU(nn.Module):
    def __init__(self, variant, dim=48):
        super().__init__()
        self.items = nn.Embedding(ITEMS, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.context = nn.Linear(dim, dim)
        self.head = nn.Linear(2 * dim, ITEMS)
        self.variant = variant

    def forward(self, session):
        e = self.items(session)
        state, _ = self.gru(e)
        if self.variant == "bad":
            mean = e.mean(1, keepdim=True).expand_as(e)
        else:
            mean = e.cumsum(1) / torch.arange(1, e.shape[1] + 1).view(1, -1, 1)
        context = torch.relu(self.context(mean))
        return self.head(torch.cat([state, context], -1))


def next_item_loss(logits, session):
    return F.cross_entropy(logits[:, :-1].reshape(-1, ITEMS), session[:, 1:].reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    model = SessionGRU(variant)
    train, val = sessions(6000, 1), sessions(1000, 2)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": next_item_loss,
        "train_loader": DataLoader(TensorDataset(train, train), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(val, val), batch_size=500),
    }


@torch.no_grad()
def hit_at_3(model, loader):
    """As at use: the last item is to come, the model gets those before."""
    model.eval()
    hits = []
    for session, _ in loader:
        top = model(session[:, :-1])[:, -1].topk(3, dim=1).indices
        hits.append((top == session[:, -1:]).any(1).float())
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for session, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(session), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}  hit@3 {hit_at_3(model, p['val_loader']):.3f}")
    print(f"score: {hit_at_3(model, p['val_loader']):.4f}")
