"""Actor-critic with an entropy bonus on the game of Catch (reward only at the end); no mistake: the loss wanders about zero and says nothing, the catches rise; change: none."""
import argparse

import torch
import torch.nn as nn
from torch.distributions import Categorical

W, H, GAMMA = 7, 9, 0.97


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2 * W + H, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.pi = nn.Linear(96, 3)
        self.v = nn.Linear(96, 1)

    def forward(self, obs):
        h = self.body(obs)
        return self.pi(h), self.v(h).squeeze(-1)


def observe(ball, row, paddle):
    eye = torch.eye(max(W, H))
    return torch.cat([eye[ball][:, :W], eye[paddle][:, :W], eye[torch.full_like(ball, row)][:, :H]], 1)


def drift(ball, wind):
    """The wind blows the ball over by one with chance 0.3 a row."""
    moved = (torch.rand(len(ball)) < 0.3).long() * wind
    return (ball + moved).clamp(0, W - 1)


def play(model, ball, paddle, wind, greedy=False):
    logps, values, entropies = [], [], []
    for row in range(H):
        logits, v = model(observe(ball, row, paddle))
        dist = Categorical(logits=logits)
        a = logits.argmax(1) if greedy else dist.sample()
        logps.append(dist.log_prob(a)), values.append(v), entropies.append(dist.entropy())
        paddle = (paddle + a - 1).clamp(0, W - 1)
        ball = drift(ball, wind)
    reward = (paddle == ball).float() * 2 - 1
    return torch.stack(logps), torch.stack(values), torch.stack(entropies), reward


def step(model, batch, optimizer):
    logp, value, entropy, reward = play(model, *batch)
    ret = torch.stack([reward * GAMMA ** (H - 1 - t) for t in range(H)])
    adv = (ret - value).detach()
    loss = -(logp * adv).mean() + 0.5 * (ret - value).pow(2).mean() - 0.02 * entropy.mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss.detach()


def starts(n):
    return torch.randint(0, W, (n,)), torch.randint(0, W, (n,)), torch.randint(0, 2, (n,)) * 2 - 1


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = ActorCritic()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=7e-4, alpha=0.99, eps=1e-5),
        "train_loader": [starts(64) for _ in range(100)],
        "step": step,
    }


@torch.no_grad()
def catch_rate(model):
    return ((play(model, *starts(2000), greedy=True)[-1] > 0).float().mean()).item()


WORKS = lambda score: score > 0.6  # chance: 0.14; the wind keeps it below 1

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--passes", type=int, default=15)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for k in range(args.passes):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        print(f"pass {k}: loss {loss.item():+.3f}  catches {catch_rate(p['model']):.3f}")
    print(f"score: {catch_rate(p['model']):.4f}")
