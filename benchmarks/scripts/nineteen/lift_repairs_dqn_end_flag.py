"""DQN from a memory of random walks in a 6 x 6 house, where a repair robot has to find the lift motor; the value of the next state is multiplied by done, not by 1 - done, so nothing but the last move is ever rewarded. change: (1 - done)."""
import sys
import copy
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N, GOAL = 6, (5, 5)
WALLS = {(1, 1), (1, 2), (1, 3), (1, 4), (3, 1), (3, 2), (3, 4), (3, 5), (4, 2)}
MOVES = [(0, 1), (1, 0), (0, -1), (-1, 0)]


def move(pos, a):
    r, c = pos[0] + MOVES[a][0], pos[1] + MOVES[a][1]
    if not (0 <= r < N and 0 <= c < N) or (r, c) in WALLS:
        r, c = pos
    return (r, c), float((r, c) == GOAL)


def encode(pos):
    v = np.zeros(N * N, np.float32)
    v[pos[0] * N + pos[1]] = 1
    return v


FREE = [(i, j) for i in range(N) for j in range(N) if (i, j) not in WALLS and (i, j) != GOAL]


def collect(n, seed):
    rng = np.random.RandomState(seed)
    rows, pos = [], FREE[0]
    for _ in range(n):
        a = rng.randint(4)
        nxt, done = move(pos, a)
        rows.append((encode(pos), a, done, encode(nxt), done))
        pos = FREE[rng.randint(len(FREE))] if done or rng.rand() < 0.05 else nxt
    s, a, r, s2, d = map(np.array, zip(*rows))
    return TensorDataset(torch.tensor(s), torch.tensor(a), torch.tensor(r).float(), torch.tensor(s2), torch.tensor(d).float())


def make_training_step(variant, target_net, gamma=0.9):
    count = [0]

    def training_step(model, batch):
        state, action, reward, next_state, done = batch
        if count[0] % 25 == 0:
            target_net.load_state_dict(model.state_dict())
        count[0] += 1
        q = model(state).gather(1, action[:, None]).squeeze(1)
        with torch.no_grad():
            best = target_net(next_state).max(1).values
        mask = done if variant == "bad" else 1 - done
        return F.smooth_l1_loss(q, reward + gamma * best * mask)

    return training_step


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(N * N, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "training_step": make_training_step(variant, copy.deepcopy(model)),
            "train_loader": DataLoader(collect(5000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(collect(500, 1), batch_size=250)}


def success(model):
    wins = 0
    for pos in FREE:
        for _ in range(20):
            with torch.no_grad():
                a = model(torch.tensor(encode(pos))[None]).argmax().item()
            pos, done = move(pos, a)
            if done:
                wins += 1
                break
    return wins / len(FREE)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: td loss {np.mean(losses):.5f} success {success(p['model']):.3f}")
    score = success(p["model"])
    print(f"score: {score:.4f}")
