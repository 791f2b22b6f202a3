"""DQN with replay and target network: a plough on a 5x5 yard drives to the drift. Sound: the bootstrap is cut only where the episode really ends (not at the time limit), the target is computed without gradient, Huber loss, epsilon falls; the score is the share of shortest routes taken greedily."""
import random
import sys
from collections import deque
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
N, LIMIT, STEPS = 5, 20, 3500
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0)]


class Yard:
    def reset(self):
        self.t = 0
        self.me, self.drift = random.sample([(i, j) for i in range(N) for j in range(N)], 2)
        return self.obs()

    def obs(self):
        v = torch.zeros(2, N * N)
        v[0, self.me[0] * N + self.me[1]] = 1
        v[1, self.drift[0] * N + self.drift[1]] = 1
        return v.flatten()

    def act(self, a):
        dy, dx = MOVES[a]
        self.me = (min(max(self.me[0] + dy, 0), N - 1), min(max(self.me[1] + dx, 0), N - 1))
        self.t += 1
        done = self.me == self.drift
        return self.obs(), (1.0 if done else -0.02), done, self.t >= LIMIT


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * N * N, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 4))

    def forward(self, s):
        return self.net(s)


class Agent:
    def __init__(self, model):
        self.target = QNet()
        self.target.load_state_dict(model.state_dict())
        self.replay = deque(maxlen=10000)
        self.env = Yard()
        self.state = self.env.reset()
        self.count = 0

    def collect(self, model, n):
        eps = max(0.15, 1 - self.count / 2500)
        for _ in range(n):
            if random.random() < eps:
                a = random.randrange(4)
            else:
                with torch.no_grad():
                    a = model(self.state[None]).argmax(1).item()
            nxt, r, done, cut = self.env.act(a)
            self.replay.append((self.state, a, r, nxt, float(done)))
            self.state = self.env.reset() if done or cut else nxt


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    model = QNet()
    agent = Agent(model)
    agent.collect(model, 500)

    def step(model, batch, optimizer):
        agent.collect(model, 3)
        s, a, r, s2, done = zip(*random.sample(agent.replay, 64))
        s, s2 = torch.stack(s), torch.stack(s2)
        a, r, done = torch.tensor(a), torch.tensor(r), torch.tensor(done)
        q = model(s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            goal = r + 0.9 * (1 - done) * agent.target(s2).max(1).values
        loss = nn.functional.smooth_l1_loss(q, goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        agent.count += 1
        if agent.count % 100 == 0:
            agent.target.load_state_dict(model.state_dict())
        return loss

    # the batches themselves come from the replay memory
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "step": step,
            "train_loader": DataLoader(range(STEPS), batch_size=1)}


WORKS = lambda score: score > 0.88


@torch.no_grad()
def shortest_share(model, episodes=200):
    env, good = Yard(), 0
    for _ in range(episodes):
        s = env.reset()
        best = abs(env.me[0] - env.drift[0]) + abs(env.me[1] - env.drift[1])
        for _ in range(best):
            s, _, done, _ = env.act(model(s[None]).argmax(1).item())
            if done:
                good += 1
                break
    return good / episodes


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], batch, p["optimizer"])
        if i % 500 == 499:
            print(f"step {i + 1}: td loss {loss.item():.4f}")
    print("score:", shortest_share(p["model"]))
