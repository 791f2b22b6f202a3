"""REINFORCE on a cart-pole; the mistake: the discounted returns are collected from the last step to the first and never turned round, so each action gets the return of another step; change: `fixed` reverses the list."""
import argparse
import math

import torch
import torch.nn as nn
from torch.distributions import Categorical

WORKS = lambda score: score > 60


class CartPole:
    """the classic one, Euler integration, at most 200 steps"""

    def reset(self):
        self.s = [(torch.rand(1).item() - 0.5) * 0.1 for _ in range(4)]
        self.t = 0
        return self.s

    def step(self, action):
        x, xd, th, thd = self.s
        force = 10.0 if action == 1 else -10.0
        c, s = math.cos(th), math.sin(th)
        tmp = (force + 0.05 * thd * thd * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = [x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha]
        self.t += 1
        fallen = abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.2095
        return self.s, 1.0, fallen or self.t >= 200


def parts(variant="fixed", gamma=0.99, lr=1e-2, episodes=260):
    torch.manual_seed(11)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    env = CartPole()

    def step(model, batch, optimizer):
        obs, log_probs, rewards, done = env.reset(), [], [], False
        while not done:
            dist = Categorical(logits=model(torch.tensor(obs)))
            action = dist.sample()
            log_probs.append(dist.log_prob(action))
            obs, reward, done = env.step(action.item())
            rewards.append(reward)
        returns, R = [], 0.0
        for r in reversed(rewards):
            R = r + gamma * R
            returns.append(R)
        if variant == "fixed":
            returns = returns[::-1]
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        loss = -(torch.stack(log_probs) * returns).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        env.last_length = len(rewards)
        return loss

    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=lr),
            "train_loader": list(range(episodes)), "step": step, "env": env}


@torch.no_grad()
def evaluate(policy, episodes=15):
    env, total = CartPole(), 0
    for _ in range(episodes):
        obs, done = env.reset(), False
        while not done:
            action = Categorical(logits=policy(torch.tensor(obs))).sample().item()
            obs, _, done = env.step(action)
        total += env.t
    return total / episodes


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    running = 20.0
    for episode in p["train_loader"]:
        loss = p["step"](p["model"], episode, p["optimizer"])
        running = 0.95 * running + 0.05 * p["env"].last_length
        if episode % 40 == 0:
            print(f"episode {episode}\tlength {running:.1f}\tloss {loss.item():.2f}")
    print(f"score: {evaluate(p['model']):.2f}")


if __name__ == "__main__":
    main()
