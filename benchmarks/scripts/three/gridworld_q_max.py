"""Q-learning from a replay of a small maze; the loss takes the largest Q of the state, not the Q of the action that was done; change: the twin gathers the action's Q."""
import copy, sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

MAZE = ["......", ".##.#.", "...#..", ".#.x..", ".#..#.", "...#.G"]
SIZE, GAMMA = 6, 0.95
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]


def move(cell, action):
    r, c = divmod(cell, SIZE)
    dr, dc = MOVES[action]
    nr, nc = r + dr, c + dc
    if not (0 <= nr < SIZE and 0 <= nc < SIZE) or MAZE[nr][nc] == "#":
        nr, nc = r, c
    here = MAZE[nr][nc]
    reward = {"G": 1.0, "x": -1.0}.get(here, -0.03)
    return nr * SIZE + nc, reward, here in "Gx"


def free_cells():
    return [r * SIZE + c for r in range(SIZE) for c in range(SIZE) if MAZE[r][c] == "."]


def replay_memory(n=3000, seed=3):
    g = torch.Generator().manual_seed(seed)
    cells = free_cells()
    rows = []
    for _ in range(n):
        s = cells[int(torch.randint(0, len(cells), (1,), generator=g))]
        a = int(torch.randint(0, 4, (1,), generator=g))
        s2, r, done = move(s, a)
        rows.append((s, a, r, s2, float(done)))
    s, a, r, s2, d = zip(*rows)
    return TensorDataset(torch.tensor(s), torch.tensor(a), torch.tensor(r), torch.tensor(s2), torch.tensor(d))


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SIZE * SIZE, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, cells):
        return self.layers(F.one_hot(cells, SIZE * SIZE).float())


def parts(variant):
    torch.manual_seed(0)
    net = QNet()
    target_net = copy.deepcopy(net)

    def step(model, batch, optimizer):
        s, a, r, s2, done = batch
        if variant == "bad":
            q = model(s).max(dim=1).values
        else:
            q = model(s).gather(1, a.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            q_next = target_net(s2).max(dim=1).values
            target = r + GAMMA * q_next * (1 - done)
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(target_net.parameters(), model.parameters()):
                old.lerp_(new, 0.03)
        return loss

    return {"model": net, "optimizer": torch.optim.RMSprop(net.parameters(), lr=5e-4), "step": step,
            "train_loader": DataLoader(replay_memory(), batch_size=64, shuffle=True)}


WORKS = lambda score: score > 0.85       # share of start cells from which the greedy walk reaches the goal


def solved(model):
    good = 0
    with torch.no_grad():
        best = model(torch.arange(SIZE * SIZE)).argmax(1).tolist()
    for start in free_cells():
        s = start
        for _ in range(30):
            s, r, done = move(s, best[s])
            if done:
                good += r > 0
                break
    return good / len(free_cells())


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(60):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} td loss {sum(losses) / len(losses):.5f} solved {solved(p['model']):.2f}")
    print(f"score: {solved(p['model']):.4f}")
