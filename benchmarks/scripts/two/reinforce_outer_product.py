"""REINFORCE on a contextual bandit with a normalised advantage: log-probs (N,) times advantages (N, 1) broadcast to (N, N), whose mean gives no gradient at all; change: squeeze the rewards to (N,)."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

class Policy(nn.Module):
    def __init__(self, obs_dim, n_actions):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, n_actions))
    def forward(self, obs):
        return Categorical(logits=self.body(obs))

def bandit(n, seed, k=6, d=10):
    world = torch.Generator().manual_seed(99); W = torch.randn(d, k, generator=world)
    g = torch.Generator().manual_seed(seed)
    obs = torch.randn(n, d, generator=g)
    value = obs @ W
    pay = (value == value.max(1, keepdim=True).values).float() + 0.1 * torch.randn(n, k, generator=g)
    return TensorDataset(obs, pay)

def rollout(policy, batch, column):
    obs, pay = batch
    dist = policy(obs)
    action = dist.sample()
    reward = pay.gather(1, action.unsqueeze(1))
    if not column:
        reward = reward.squeeze(1)
    adv = (reward - reward.mean()) / (reward.std() + 1e-8)
    return -(dist.log_prob(action) * adv).mean(), reward.mean()

def parts(variant):
    torch.manual_seed(21)
    policy = Policy(10, 6)
    bad = variant != "fixed"
    return dict(model=policy, optimizer=torch.optim.Adam(policy.parameters(), lr=5e-3),
                train_loader=DataLoader(bandit(4000, 0), batch_size=100, shuffle=True),
                val_loader=DataLoader(bandit(1000, 1), batch_size=500),
                training_step=lambda model, batch: rollout(model, batch, bad)[0])

WORKS = lambda score: score > 0.6      # mean pay of the greedy policy; best 1, by chance 0.17

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        if epoch % 4 == 3: print(f"epoch {epoch + 1}: loss {loss.item():+.5f}")
    with torch.no_grad():
        pay = torch.cat([t.gather(1, p["model"](o).logits.argmax(1, keepdim=True)) for o, t in p["val_loader"]])
    print(f"score: {pay.mean().item():.4f}")
