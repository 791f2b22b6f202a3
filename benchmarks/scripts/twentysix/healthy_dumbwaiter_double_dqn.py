"""Sound: a double DQN runs the dumbwaiter of a restaurant: fetch a dish on one of six floors and bring it to another. Nothing odd: replay buffer, frozen target net copied every 50 updates, bootstrapping cut at delivery only (an episode stopped by the time limit is not an end). Score: share of dishes delivered greedily within 16 moves."""
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
FLOORS, LIMIT, GAMMA = 6, 25, 0.95
UP, DOWN, DOOR = 0, 1, 2


class Shafts:
    """Many dumbwaiters at once."""

    def __init__(self, n):
        self.at, self.src, self.dst, self.t = (torch.zeros(n, dtype=torch.long) for _ in range(4))
        self.loaded = torch.zeros(n, dtype=torch.bool)
        self.reset(torch.ones(n, dtype=torch.bool))

    def reset(self, which):
        k = int(which.sum())
        self.at[which], self.src[which] = torch.randint(0, FLOORS, (k,)), torch.randint(0, FLOORS, (k,))
        self.dst[which] = (self.src[which] + torch.randint(1, FLOORS, (k,))) % FLOORS
        self.t[which], self.loaded[which] = 0, False

    def observe(self):
        hot = lambda v: F.one_hot(v, FLOORS).float()
        return torch.cat([hot(self.at), hot(self.src), hot(self.dst), self.loaded.float()[:, None]], 1)

    def move(self, action):
        door = action == DOOR
        done = door & self.loaded & (self.at == self.dst)
        pick = door & ~self.loaded & (self.at == self.src)
        self.loaded = self.loaded | pick
        self.at = (self.at + (action == UP).long() - (action == DOWN).long()).clamp(0, FLOORS - 1)
        self.t = self.t + 1
        return done.float() + 0.3 * pick.float() - 0.05, done


class Replay:
    """Acts with the current net (epsilon-greedy) and yields one batch of old transitions per move."""

    def __init__(self, model, moves, batch_size=96, envs=16, size=8000):
        self.model, self.moves, self.batch_size, self.size = model, moves, batch_size, size
        self.env, self.store, self.played = Shafts(envs), None, 0
        for _ in range(60):
            self.play(1.0)

    def play(self, epsilon):
        obs = self.env.observe()
        with torch.no_grad():
            action = self.model(obs).argmax(1)
        random = torch.rand(len(action)) < epsilon
        action = torch.where(random, torch.randint(0, 3, action.shape), action)
        reward, done = self.env.move(action)
        new = (obs, action, reward, self.env.observe(), done.float())
        self.store = new if self.store is None else tuple(torch.cat([old, n])[-self.size:] for old, n in zip(self.store, new))
        self.env.reset(done | (self.env.t >= LIMIT))

    def __len__(self):
        return self.moves

    def __iter__(self):
        for _ in range(self.moves):
            self.play(max(0.1, 1.0 - self.played / 800))
            self.played += 1
            rows = torch.randint(0, len(self.store[0]), (self.batch_size,))
            yield tuple(column[rows] for column in self.store)


def make_step(model):
    target, updates = copy.deepcopy(model).requires_grad_(False), [0]

    def step(model, batch, optimizer):
        obs, action, reward, nxt, done = batch
        q = model(obs).gather(1, action[:, None]).squeeze(1)
        with torch.no_grad():
            best = model(nxt).argmax(1, keepdim=True)
            goal = reward + GAMMA * (1 - done) * target(nxt).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(q, goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        updates[0] += 1
        if updates[0] % 50 == 0:
            target.load_state_dict(model.state_dict())
        return loss.detach()
    return step


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3 * FLOORS + 1, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 3))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "step": make_step(model), "train_loader": Replay(model, 250)}


def delivered(model, n=400):
    env, ok = Shafts(n), torch.zeros(n, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(16):
            ok |= env.move(model(env.observe()).argmax(1))[1]
    return ok.float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    for evening in range(4):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        print(f"evening {evening}: loss {loss.item():.4f}, delivered {delivered(p['model']):.3f}")
    print("score:", delivered(p["model"]))
