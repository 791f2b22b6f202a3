"""Advantage actor-critic with a Gaussian policy that steers a point to its goal; log-probabilities (B, 1) times advantages (B,) broadcast to (B, B), so the policy gets no signal; change: `fixed` drops the last dimension of the log-probabilities."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Normal

N_ENVS, T, GAMMA = 32, 20, 0.9
ITERS = 500
WORKS = lambda score: score > -0.45        # mean reward a step of the mean policy (doing nothing: about -1)


class PointWorld:
    """Position in [-2, 2]; the action is a push; the goal moves with every episode."""
    def reset(self):
        self.x = torch.rand(N_ENVS) * 4 - 2
        self.goal = torch.rand(N_ENVS) * 2 - 1
        return self.obs()

    def obs(self):
        return torch.stack([self.x, self.goal], 1)

    def step(self, a):
        self.x = (self.x + 0.3 * a.clamp(-2, 2)).clamp(-2, 2)
        return self.obs(), -(self.x - self.goal).abs()


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.pi = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))
        self.log_std = nn.Parameter(torch.zeros(1))
        self.v = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, obs):
        return Normal(self.pi(obs), self.log_std.exp()), self.v(obs).squeeze(-1)


def parts(variant):
    torch.manual_seed(3)
    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    env = PointWorld()

    def rollout(model):
        o = env.reset()
        obs, acts, rews = [], [], []
        with torch.no_grad():
            for _ in range(T):
                a = model(o)[0].sample()
                obs.append(o)
                acts.append(a)
                o, r = env.step(a.squeeze(-1))
                rews.append(r)
        ret, R = [], torch.zeros(N_ENVS)
        for r in reversed(rews):
            R = r + GAMMA * R
            ret.insert(0, R)
        return torch.cat(obs), torch.cat(acts), torch.cat(ret), torch.stack(rews).mean()

    def step(model, batch, optimizer):
        obs, acts, returns, mean_reward = rollout(model)
        dist, values = model(obs)
        log_prob = dist.log_prob(acts)
        if variant != "bad":
            log_prob = log_prob.squeeze(-1)
        adv = (returns - values).detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        policy_loss = -(log_prob * adv).mean()
        value_loss = (returns - values).pow(2).mean()
        loss = policy_loss + 0.5 * value_loss - 0.001 * dist.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step.reward, step.value_loss = mean_reward.item(), value_loss.item()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, train_loader=[torch.tensor(i) for i in range(ITERS)], step=step)


@torch.no_grad()
def evaluate(model, episodes=20):
    torch.manual_seed(77)
    env, total = PointWorld(), 0.0
    for _ in range(episodes):
        o = env.reset()
        for _ in range(T):
            o, r = env.step(model(o)[0].mean.squeeze(-1))
            total += r.mean().item()
    return total / episodes / T


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    step = p["step"]
    for i, b in enumerate(p["train_loader"]):
        loss = step(p["model"], b, p["optimizer"])
        if (i + 1) % 100 == 0:
            print(f"iter {i + 1}: loss {loss:.3f}, value loss {step.value_loss:.3f}, reward a step {step.reward:.3f}")
    print("score:", round(evaluate(p["model"]), 4))
