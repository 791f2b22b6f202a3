"""Double DQN learns from a stored replay to balance a broomstick on a cart, one point for every step it stays up. Mistake: the value of the next state is added for the last transition of an episode too, so a fall costs nothing. change: the next value is multiplied by (1 - done)."""
import copy
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

GAMMA = 0.95
LIMITS = torch.tensor([2.4, 3.0, 0.21, 3.0])


def push(state, action):
    x, v, angle, spin = state.unbind(1)
    force = torch.where(action == 1, 10.0, -10.0)
    sin, cos = torch.sin(angle), torch.cos(angle)
    temp = (force + 0.05 * spin ** 2 * sin) / 1.1
    spin_acc = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos ** 2 / 1.1))
    acc = temp - 0.05 * spin_acc * cos / 1.1
    new = torch.stack([x + 0.02 * v, v + 0.02 * acc, angle + 0.02 * spin, spin + 0.02 * spin_acc], 1)
    fallen = (new[:, 0].abs() > 2.4) | (new[:, 2].abs() > 0.21)
    return new, fallen


class Replay(Dataset):
    def __init__(self, size):
        self.state = (torch.rand(size, 4) * 2 - 1) * LIMITS
        self.action = torch.randint(0, 2, (size,))
        self.next_state, fallen = push(self.state, self.action)
        self.reward = torch.ones(size)
        self.done = fallen.float()

    def __len__(self):
        return len(self.state)

    def __getitem__(self, i):
        return self.state[i], self.action[i], self.reward[i], self.next_state[i], self.done[i]


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", LIMITS.clone())
        self.layers = nn.Sequential(nn.Linear(4, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))

    def forward(self, state):
        return self.layers(state / self.scale)


def parts(variant):
    torch.manual_seed(0)
    qnet = QNet()
    frozen = copy.deepcopy(qnet)
    count = 0

    def step(model, batch, optimizer):
        nonlocal count
        state, action, reward, next_state, done = batch
        q = model(state).gather(1, action[:, None]).squeeze(1)
        with torch.no_grad():
            best = model(next_state).argmax(1, keepdim=True)
            next_q = frozen(next_state).gather(1, best).squeeze(1)
            if variant == "bad":
                target = reward + GAMMA * next_q
            else:
                target = reward + GAMMA * next_q * (1 - done)
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += 1
        if count % 40 == 0:
            frozen.load_state_dict(model.state_dict())
        return loss.detach()

    return {"model": qnet, "optimizer": torch.optim.Adam(qnet.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(Replay(16000), batch_size=200, shuffle=True),
            "val_loader": DataLoader(Replay(1000), batch_size=200)}


WORKS = lambda score: score > 120


@torch.no_grad()
def steps_upright(model, games=50, limit=200):
    g = torch.Generator().manual_seed(11)
    state = (torch.rand(games, 4, generator=g) - 0.5) * 0.1
    alive, steps = torch.ones(games, dtype=torch.bool), torch.zeros(games)
    for _ in range(limit):
        state, fallen = push(state, model(state).argmax(1))
        steps += alive
        alive &= ~fallen
    return steps.mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    played = []
    for epoch in range(40):
        loss = torch.stack([p["step"](p["model"], b, p["optimizer"]) for b in p["train_loader"]]).mean()
        played.append(steps_upright(p["model"]))
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {loss:.4f}, steps upright {played[-1]:.1f}")
    score = sum(played[-5:]) / 5
    print(f"score: {score:.4f}")
