"""Deep Q-learning on a frozen lake from stored moves, target net, clipping; the state, a number from 0 to 63 that names a square, goes into the net as one float, torch.tensor([[s]], dtype=float32); change: one-hot."""
import copy
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LAKE = ["........",
        ".OO..O..",
        "...O...O",
        ".O......",
        "...OO..O",
        ".O....O.",
        "..O.....",
        "O...O..G"]
SIDE = 8
FREE = [i for i in range(64) if LAKE[i // SIDE][i % SIDE] == "."]


def move(s, a):
    """0 up, 1 right, 2 down, 3 left; returns the next square, the reward, and whether it is over."""
    r, c = divmod(s, SIDE)
    r = min(max(r + (a == 2) - (a == 0), 0), SIDE - 1)
    c = min(max(c + (a == 1) - (a == 3), 0), SIDE - 1)
    square = LAKE[r][c]
    return r * SIDE + c, {"G": 1.0, "O": -1.0}.get(square, 0.0), square in "GO"


def stored_moves(n, seed):
    g = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n):
        s = FREE[int(torch.randint(len(FREE), (1,), generator=g))]
        a = int(torch.randint(4, (1,), generator=g))
        nxt, r, over = move(s, a)
        rows.append((s, a, r, nxt, float(over)))
    s, a, r, nxt, over = zip(*rows)
    return TensorDataset(torch.tensor(s), torch.tensor(a), torch.tensor(r), torch.tensor(nxt), torch.tensor(over))


class QNet(nn.Module):
    def __init__(self, one_hot, hidden=96):
        super().__init__()
        self.one_hot = one_hot
        self.net = nn.Sequential(nn.Linear(SIDE * SIDE if one_hot else 1, hidden), nn.ReLU(),
                                 nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 4))

    def forward(self, state):
        if self.one_hot:
            x = F.one_hot(state, SIDE * SIDE).float()
        else:
            x = state.to(torch.float32).unsqueeze(1)
        return self.net(x)


def parts(variant):
    torch.manual_seed(0)
    model = QNet(one_hot=variant != "bad")
    target = copy.deepcopy(model)
    count = [0]

    def step(model, batch, optimizer):
        s, a, r, nxt, over = batch
        with torch.no_grad():
            aim = r + 0.92 * (1 - over) * target(nxt).max(1).values
        q = model(s).gather(1, a.unsqueeze(1)).squeeze(1)
        loss = F.smooth_l1_loss(q, aim, beta=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        count[0] += 1
        if count[0] % 40 == 0:
            target.load_state_dict(model.state_dict())
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(stored_moves(4000, 1), batch_size=64, shuffle=True),
        "step": step,
    }


@torch.no_grad()
def arrivals(model):
    """Share of the free squares from which the greedy walk gets to the goal."""
    best = model(torch.arange(SIDE * SIDE)).argmax(1).tolist()
    won = 0
    for s in FREE:
        for _ in range(40):
            s, r, over = move(s, best[s])
            if over:
                won += r > 0
                break
    return won / len(FREE)


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for sweep in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](p["model"], batch, p["optimizer"]).item()
        if sweep % 5 == 4:
            print(f"sweep {sweep + 1}: td loss {total / len(p['train_loader']):.4f}, arrives from {arrivals(p['model']):.2f} of the squares")
    print(f"score: {arrivals(p['model']):.4f}")
