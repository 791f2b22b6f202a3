"""A DQN with replay buffer and target network keeps a unicycle upright (one point for each step without a fall). The target bootstraps from the next state also when the rider has fallen, so falling costs nothing and all values are alike; the right change: multiply the next state's value by (1 - done)."""
import random
import sys
from collections import deque

import numpy as np
import torch
import torch.nn as nn

torch.set_num_threads(1)
GAMMA, PUSH = 0.97, np.array([-1.0, 0.0, 1.0])


class UnicycleEnv:
    max_steps = 150

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.state = self.rng.uniform(-0.08, 0.08, 2)
        self.t = 0
        return self.state.astype(np.float32)

    def step(self, action):
        lean, speed = self.state
        force = 9.0 * np.sin(lean) + 2.2 * PUSH[action] + self.rng.normal(0, 0.5)
        speed = speed + 0.05 * force
        lean = lean + 0.05 * speed
        self.state = np.array([lean, speed])
        self.t += 1
        fallen = abs(lean) > 0.35
        return self.state.astype(np.float32), 1.0, fallen, fallen or self.t >= self.max_steps


class QNet(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                    nn.Linear(hidden, 3))

    def forward(self, obs):
        return self.layers(obs * torch.tensor([5.0, 1.5]))


class ReplayLoader:
    """Rides with the present network (epsilon-greedy) and yields batches from the buffer."""

    def __init__(self, model, batches, batch_size=64, seed=0):
        self.model, self.batches, self.batch_size = model, batches, batch_size
        self.env, self.rng, self.buffer = UnicycleEnv(seed), random.Random(seed), deque(maxlen=6000)
        self.obs, self.epsilon = self.env.reset(), 1.0

    def ride(self):
        if self.rng.random() < self.epsilon:
            action = self.rng.randrange(3)
        else:
            with torch.no_grad():
                action = self.model(torch.from_numpy(self.obs)).argmax().item()
        nxt, reward, fallen, over = self.env.step(action)
        self.buffer.append((self.obs, action, reward, nxt, float(fallen)))
        self.obs = self.env.reset() if over else nxt
        self.epsilon = max(0.05, self.epsilon * 0.9992)

    def __len__(self):
        return self.batches

    def __iter__(self):
        while len(self.buffer) < 500:
            self.ride()
        for _ in range(self.batches):
            for _ in range(2):
                self.ride()
            obs, action, reward, nxt, done = zip(*self.rng.sample(self.buffer, self.batch_size))
            yield {"obs": torch.tensor(np.array(obs)), "action": torch.tensor(action),
                   "reward": torch.tensor(reward), "next_obs": torch.tensor(np.array(nxt)), "done": torch.tensor(done)}


class Learner:
    def __init__(self, terminal):
        self.target, self.updates, self.terminal = QNet(), 0, terminal

    def __call__(self, model, batch, optimizer):
        if self.updates % 100 == 0:
            self.target.load_state_dict(model.state_dict())
        self.updates += 1
        q = model(batch["obs"]).gather(1, batch["action"].unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            next_q = self.target(batch["next_obs"]).max(1).values
            if self.terminal:
                next_q = next_q * (1 - batch["done"])
            target = batch["reward"] + GAMMA * next_q
        loss = nn.functional.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()


def parts(variant):
    torch.manual_seed(3)
    model = QNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "step": Learner(terminal=variant != "bad"), "train_loader": ReplayLoader(model, batches=500)}


def mean_ride(model, rides=20):
    env, steps = UnicycleEnv(99), 0
    for _ in range(rides):
        obs, over = env.reset(), False
        while not over:
            with torch.no_grad():
                obs, _, _, over = env.step(model(torch.from_numpy(obs)).argmax().item())
            steps += 1
    return steps / rides


WORKS = lambda score: score > 100

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(5):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: td loss {np.mean(losses):.3f}, buffer {len(p['train_loader'].buffer)}")
    print("score:", mean_ride(p["model"]))
