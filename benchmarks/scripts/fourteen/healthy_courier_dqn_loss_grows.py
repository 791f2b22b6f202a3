"""Healthy: DQN for a courier on a line that fetches a parcel and takes it to the door; replay memory, a target network copied now and then, Huber loss.
The loss grows for a while as the values grow, and jumps at every copy. Nothing to change."""
import sys
import copy
import random
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

CELLS, GAMMA = 7, 0.95


def observe(pos, parcel, carried, door):
    o = torch.zeros(3 * CELLS + 1)
    o[pos] = 1
    if not carried:
        o[CELLS + parcel] = 1
    o[2 * CELLS + door] = 1
    o[-1] = float(carried)
    return o


class Errand:
    def __init__(self, seed):
        r = random.Random(seed)
        self.pos, self.parcel, self.door = (r.randrange(CELLS) for _ in range(3))
        self.carried, self.t = False, 0

    def obs(self):
        return observe(self.pos, self.parcel, self.carried, self.door)

    def act(self, a):
        self.t += 1
        reward = -0.02
        if a == 0:
            self.pos = max(0, self.pos - 1)
        elif a == 1:
            self.pos = min(CELLS - 1, self.pos + 1)
        elif a == 2 and not self.carried and self.pos == self.parcel:
            self.carried, reward = True, 1.0
        elif a == 3 and self.carried and self.pos == self.door:
            return 5.0, True
        return reward, False


def qnet():
    return nn.Sequential(nn.Linear(3 * CELLS + 1, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 4))


def parts(variant):
    torch.manual_seed(0)
    rng = random.Random(0)
    model = qnet()
    target = copy.deepcopy(model).requires_grad_(False)
    memory, counter = [], dict(step=0)

    def act(o, eps):
        if rng.random() < eps:
            return rng.randrange(4)
        with torch.no_grad():
            return model(o).argmax().item()

    def step(model, batch, optimizer):
        """one batch is a handful of errands (their seeds): walk them, then learn from the memory"""
        eps = max(0.1, 1.0 - counter["step"] / 250)
        for seed in batch[0].tolist():
            env, done, o = Errand(seed), False, None
            while not done and env.t < 30:
                o = env.obs()
                a = act(o, eps)
                r, done = env.act(a)
                memory.append((o, a, r, env.obs(), float(done)))
        del memory[:-15000]
        for _ in range(12):
            s, a, r, s2, d = zip(*rng.sample(memory, min(96, len(memory))))
            a, r, d = torch.tensor(a), torch.tensor(r), torch.tensor(d)
            with torch.no_grad():
                goal = r + GAMMA * (1 - d) * target(torch.stack(s2)).max(1).values
            q = model(torch.stack(s)).gather(1, a[:, None]).squeeze(1)
            loss = F.smooth_l1_loss(q, goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
        counter["step"] += 1
        if counter["step"] % 10 == 0:
            target.load_state_dict(model.state_dict())
        return loss.detach()

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), 1e-3), step=step,
                train_loader=DataLoader(TensorDataset(torch.arange(1600)), 4, shuffle=True),
                val_loader=DataLoader(TensorDataset(torch.arange(10000, 10100)), 4))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    losses = []
    for i, batch in enumerate(p["train_loader"]):
        losses.append(p["step"](p["model"], batch, p["optimizer"]).item())
        if i % 40 == 39:
            print(f"batch {i + 1}: loss {sum(losses[-40:]) / 40:.5f}")
    delivered = 0
    for (seeds,) in p["val_loader"]:
        for seed in seeds.tolist():
            env, done = Errand(seed), False
            while not done and env.t < 30:
                with torch.no_grad():
                    done = env.act(p["model"](env.obs()).argmax().item())[1]
            delivered += done
    score = delivered / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
