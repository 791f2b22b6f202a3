"""Policy gradient with a baseline: a tea trolley in the aisle of a railway coach drives to the row whose call lamp is lit and serves there.
The policy's loss terms are gathered into a fresh tensor by torch.tensor(terms), which holds their values only and no graph, so only the baseline learns; the right change: torch.stack(terms)."""
import sys
import warnings

import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
ROWS, LIMIT = 7, 10
BACK, FORTH, SERVE = 0, 1, 2


class Coach:
    def __init__(self, start, lamp):
        self.row, self.lamp = start.clone(), lamp
        self.open = torch.ones(len(start), dtype=torch.bool)

    def observe(self):
        eye = torch.eye(ROWS)
        return torch.cat([eye[self.row], eye[self.lamp]], 1)

    def act(self, action):
        serving = self.open & (action == SERVE)
        right = self.row == self.lamp
        reward = torch.where(serving, torch.where(right, 1.0, -0.2), torch.full((len(action),), -0.03)) * self.open
        move = (action == FORTH).long() - (action == BACK).long()
        self.row = torch.where(self.open, (self.row + move).clamp(0, ROWS - 1), self.row)
        self.open = self.open & ~serving
        return reward, serving & right


class Trolley(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2 * ROWS, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.policy = nn.Linear(hidden, 3)
        self.baseline = nn.Linear(hidden, 1)

    def forward(self, obs):
        h = self.trunk(obs)
        return Categorical(logits=self.policy(h)), self.baseline(h).squeeze(-1)


def make_step(gather, gamma=0.98):
    def step(model, batch, optimizer):
        coach = Coach(*batch)
        history = []
        for _ in range(LIMIT):
            alive = coach.open.float()
            dist, value = model(coach.observe())
            action = dist.sample()
            reward, _ = coach.act(action)
            history.append((dist.log_prob(action), dist.entropy(), value, reward, alive))
        ret = torch.zeros(len(batch[0]))
        terms, value_terms = [], []
        for logp, entropy, value, reward, alive in reversed(history):
            ret = reward + gamma * ret
            advantage = (ret - value).detach()
            terms.append((-(logp * advantage + 0.03 * entropy) * alive).mean())
            value_terms.append((alive * (ret - value) ** 2).mean())
        loss = gather(terms).sum() + 0.5 * torch.stack(value_terms).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        return loss.detach()
    return step


def parts(variant):
    torch.manual_seed(17)
    model = Trolley()
    start, lamp = torch.randint(0, ROWS, (2, 4800))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "step": make_step(torch.tensor if variant == "bad" else torch.stack),
            "train_loader": DataLoader(TensorDataset(start, lamp), batch_size=100, shuffle=True)}


WORKS = lambda score: score > 0.8


@torch.no_grad()
def served_share(model, seed):
    g = torch.Generator().manual_seed(seed)
    start, lamp = torch.randint(0, ROWS, (2, 600), generator=g)
    coach, served = Coach(start, lamp), torch.zeros(600, dtype=torch.bool)
    for _ in range(LIMIT):
        served |= coach.act(model(coach.observe())[0].probs.argmax(-1))[1]
    return served.float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for journey in range(5):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        score = served_share(p["model"], 99)
        print(f"journey {journey}: loss {loss:.3f}, served {score:.3f}")
    print("score:", score)
