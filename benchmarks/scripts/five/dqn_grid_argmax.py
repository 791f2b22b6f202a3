"""DQN on a 6x6 grid with a wall; the bootstrap takes element 1 of max(1), the index of the best action, instead of its value; change: element 0."""
import copy
import random
import sys
from collections import deque

import torch
import torch.nn as nn

SIZE, GAMMA = 6, 0.9
GOAL = (5, 5)
WALLS = {(3, 1), (3, 2), (3, 3), (3, 4), (3, 5)}
MOVES = [(-1, 0), (0, -1), (1, 0), (0, 1)]
FREE = [(r, c) for r in range(SIZE) for c in range(SIZE) if (r, c) not in WALLS and (r, c) != GOAL]


def env_step(pos, action):
    r, c = pos[0] + MOVES[action][0], pos[1] + MOVES[action][1]
    if not (0 <= r < SIZE and 0 <= c < SIZE) or (r, c) in WALLS:
        r, c = pos
    done = (r, c) == GOAL
    return (r, c), (1.0 if done else -0.02), done


def encode(cells):
    x = torch.zeros(len(cells), SIZE * SIZE)
    for i, (r, c) in enumerate(cells):
        x[i, r * SIZE + c] = 1.0
    return x


class Agent:
    def __init__(self, variant):
        self.variant = variant
        self.memory = deque(maxlen=5000)
        self.rng = random.Random(0)
        self.target, self.t = None, 0

    def act(self, net, cells, eps):
        with torch.no_grad():
            greedy = net(encode(cells)).argmax(1).tolist() if cells else []
        return [self.rng.randrange(4) if self.rng.random() < eps else a for a in greedy]

    def step(self, net, batch, optimizer):
        """Four moves in each of the batch's games, then one update from the memory."""
        if self.target is None or self.t % 50 == 0:
            self.target = copy.deepcopy(net).eval()
        eps = max(0.1, 1.0 - self.t / 800)
        self.t += 1
        games = [tuple(cell) for cell in batch.tolist()]
        for _ in range(4):
            moves = zip(games, self.act(net, games, eps))
            games = []
            for pos, a in moves:
                nxt, reward, done = env_step(pos, a)
                self.memory.append((pos, a, reward, nxt, float(done)))
                if not done:
                    games.append(nxt)
        s, a, r, s2, d = zip(*self.rng.sample(self.memory, min(64, len(self.memory))))
        q = net(encode(s)).gather(1, torch.tensor(a).unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            best = self.target(encode(s2)).max(1)
            next_q = best[1] if self.variant == "bad" else best[0]
            target = torch.tensor(r) + GAMMA * next_q * (1 - torch.tensor(d))
        optimizer.zero_grad()
        loss = nn.functional.smooth_l1_loss(q, target)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        return loss.detach()


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(SIZE * SIZE, 64), nn.ReLU(), nn.Linear(64, 4))
    rng = random.Random(1)
    starts = [torch.tensor([rng.choice(FREE) for _ in range(16)]) for _ in range(200)]
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
        "train_loader": starts,
        "step": Agent(variant).step,
    }


@torch.no_grad()
def reached(net):
    wins = 0
    for start in FREE:
        pos = start
        for _ in range(25):
            pos, _, done = env_step(pos, net(encode([pos])).argmax().item())
            if done:
                wins += 1
                break
    return wins / len(FREE)


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for sweep in range(18):
        for starts in p["train_loader"]:
            loss = p["step"](net, starts, p["optimizer"])
        print(f"sweep {sweep}: td loss {loss.item():.4f}, reaches the goal from {reached(net):.0%} of the cells")
    print(f"score: {reached(net):.4f}")
