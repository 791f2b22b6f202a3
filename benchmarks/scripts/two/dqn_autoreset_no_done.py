"""Offline DQN on a 5x5 grid with auto-reset: the target bootstraps over the end of the episode ((1 - done) missing), so every action is worth the same -1/(1-gamma); change: r + gamma * (1 - done) * max Q."""
import sys, copy, random
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE, GOAL, GAMMA = 5, 24, 0.95
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]

def env_step(s, a):
    r, c = divmod(s, SIZE); dr, dc = MOVES[a]
    s2 = min(max(r + dr, 0), SIZE - 1) * SIZE + min(max(c + dc, 0), SIZE - 1)
    return s2, -1.0, s2 == GOAL

def collect(n, seed):
    rnd = random.Random(seed); rows = []; s = rnd.randrange(24)
    for _ in range(n):
        a = rnd.randrange(4); s2, r, d = env_step(s, a)
        if d: s2 = rnd.randrange(24)                 # the vector env resets by itself
        rows.append((s, a, r, s2, float(d))); s = s2
    S, A, R, S2, D = zip(*rows)
    oh = lambda v: F.one_hot(torch.tensor(v), 25).float()
    return TensorDataset(oh(S), torch.tensor(A), torch.tensor(R), oh(S2), torch.tensor(D))

def make_step(mask_done):
    count = [0]
    def step(models, optimizer, batch):
        q, target = models["q"], models["target"]
        s, a, r, s2, done = batch
        with torch.no_grad():
            nxt = target(s2).max(1).values
            if mask_done:
                nxt = (1 - done) * nxt
            y = r + GAMMA * nxt
        q_sa = q(s).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(q_sa, y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        count[0] += 1
        if count[0] % 50 == 0:
            target.load_state_dict(q.state_dict())
        return loss
    return step

def parts(variant):
    torch.manual_seed(0); random.seed(0)
    q = nn.Sequential(nn.Linear(25, 64), nn.ReLU(), nn.Linear(64, 4))
    return {"model": {"q": q, "target": copy.deepcopy(q)}, "optimizer": torch.optim.Adam(q.parameters(), lr=2e-3),
            "train_loader": DataLoader(collect(6000, 1), 64, shuffle=True), "val_loader": DataLoader(collect(600, 2), 200),
            "step": make_step(variant == "fixed")}

WORKS = lambda score: score > 0.9     # share of start squares from which the greedy policy takes a shortest path

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(30):
        tot = 0
        for batch in p["train_loader"]:
            tot += p["step"](p["model"], p["optimizer"], batch).item()
        if epoch % 5 == 4: print("epoch", epoch + 1, "td loss", tot / len(p["train_loader"]))
    q, ok = p["model"]["q"], 0
    for s0 in range(24):
        s, n, d = s0, 0, False
        while not d and n < 30:
            with torch.no_grad(): a = q(F.one_hot(torch.tensor(s), 25).float()).argmax().item()
            s, _, d = env_step(s, a); n += 1
        ok += d and n == 8 - s0 // 5 - s0 % 5
    print("score:", ok / 24)
