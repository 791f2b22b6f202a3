"""The next song of a listener from the last one: two embedding tables, full softmax over songs with a temperature; nothing is wrong. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SONGS = 120


def plays(n, seed):
    rng = np.random.default_rng(seed)
    now = rng.integers(0, SONGS, n)
    hop = rng.choice([1, 2, 3, 7], size=n, p=[0.5, 0.25, 0.15, 0.1])
    nxt = np.where(rng.random(n) < 0.9, (now * 7 + hop) % SONGS, rng.integers(0, SONGS, n))
    return torch.tensor(now), torch.tensor(nxt)


class NextSong(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.now, self.next = nn.Embedding(SONGS, dim), nn.Embedding(SONGS, dim)

    def forward(self, song):
        a = F.normalize(self.now(song), dim=1)
        b = F.normalize(self.next.weight, dim=1)
        return a @ b.T / 0.1


def parts(variant):
    torch.manual_seed(0)
    model = NextSong()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(*plays(12000, 1)), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(*plays(2000, 2)), batch_size=500))


# hit rate among the first five
WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        mean = 0
        for song, follow in p["train_loader"]:
            loss = p["loss_fn"](net(song), follow)
            opt.zero_grad()
            loss.backward()
            opt.step()
            mean += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch + 1}: {mean:.3f}")
    with torch.no_grad():
        hits = torch.cat([(net(s).topk(5).indices == f[:, None]).any(1) for s, f in p["val_loader"]])
    score = hits.float().mean().item()
    print(f"score: {score:.4f}")
