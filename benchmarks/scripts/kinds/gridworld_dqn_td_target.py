"""Offline DQN on a 6x6 grid: the TD target is (B, 1) and the chosen Q value (B,), so the error is over B x B pairs; change: `fixed` squeezes reward and done to (B,)."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE, GAMMA, TAU = 6, 0.9, 0.05
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
WORKS = lambda score: score > 0.85


def move(pos, action):
    """pos (n, 2), action (n,) -> next pos, reward, done. The goal is the corner (5, 5), the cell (2, 2) is a pit."""
    nxt = (pos + MOVES[action]).clamp(0, SIZE - 1)
    goal = (nxt == SIZE - 1).all(1)
    pit = (nxt == 2).all(1)
    reward = goal.float() - pit.float() - 0.01
    return nxt, reward, goal | pit


def encode(pos):
    return F.one_hot(pos[:, 0] * SIZE + pos[:, 1], SIZE * SIZE).float()


def collect(n, seed):
    g = torch.Generator().manual_seed(seed)
    pos = torch.randint(0, SIZE, (n, 2), generator=g)
    action = torch.randint(0, 4, (n,), generator=g)
    nxt, reward, done = move(pos, action)
    return TensorDataset(encode(pos), action.unsqueeze(1), reward.unsqueeze(1), encode(nxt), done.float().unsqueeze(1))


class QNet(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(SIZE * SIZE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.q = nn.Linear(hidden, 4)

    def forward(self, s):
        return self.q(self.body(s))


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"online": QNet(), "target": QNet()})
    model["target"].load_state_dict(model["online"].state_dict())
    for p in model["target"].parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.Adam(model["online"].parameters(), lr=1e-3)
    loader = DataLoader(collect(8000, 1), batch_size=128, shuffle=True)

    def step(model, batch, optimizer):
        s, a, r, s2, done = batch
        if variant == "fixed":
            r, done = r.squeeze(1), done.squeeze(1)
        q = model["online"](s).gather(1, a).squeeze(1)
        with torch.no_grad():
            best = model["online"](s2).argmax(1, keepdim=True)
            nxt = model["target"](s2).gather(1, best).view(done.shape)
            target = r + GAMMA * (1 - done) * nxt
        td = target - q
        loss = td.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for p, t in zip(model["online"].parameters(), model["target"].parameters()):
                t.lerp_(p, TAU)
        return loss

    return {"model": model, "optimizer": optimizer, "train_loader": loader, "step": step}


@torch.no_grad()
def success_rate(q):
    starts = torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE))
    starts = starts[~(starts == SIZE - 1).all(1) & ~(starts == 2).all(1)]
    wins = 0
    for pos in starts:
        pos = pos.unsqueeze(0)
        for _ in range(2 * SIZE):
            pos, r, done = move(pos, q(encode(pos)).argmax(1))
            if done.item():
                wins += int(r.item() > 0)
                break
    return wins / len(starts)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        total = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"])
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: td loss {total / len(p['train_loader']):.4f}  success {success_rate(p['model']['online']):.2f}")
    print("score:", success_rate(p["model"]["online"]))
