"""Reinforcement learning by the cross-entropy method: sail a boat to the buoy, then imitate the actions of the best tenth of the episodes; the data change with the policy and the loss need not fall smoothly; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

STEPS = 15
MOVES = torch.tensor([[0.2, 0.0], [-0.2, 0.0], [0.0, 0.2], [0.0, -0.2]])


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 4))

    def forward(self, obs):
        return self.net(obs)


@torch.no_grad()
def sail(policy, start, greedy=False):
    boat, buoy = start[:, :2].clone(), start[:, 2:]
    seen, done = [], []
    before = (boat - buoy).norm(dim=1)
    for _ in range(STEPS):
        obs = torch.cat([boat, buoy], 1)
        logits = policy(obs)
        act = logits.argmax(1) if greedy else torch.distributions.Categorical(logits=logits).sample()
        boat = boat + MOVES[act] + torch.tensor([0.02, 0.0])
        seen.append(obs)
        done.append(act)
    reward = before - (boat - buoy).norm(dim=1)
    return torch.stack(seen, 1), torch.stack(done, 1), reward


def step(model, batch, optimizer):
    start, = batch
    obs, act, reward = sail(model, start)
    best = reward.topk(len(reward) // 10).indices
    optimizer.zero_grad()
    loss = F.cross_entropy(model(obs[best]).flatten(0, 1), act[best].flatten())
    loss.backward()
    optimizer.step()
    step.reward = reward.mean().item()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = Policy()
    starts = torch.rand(6400, 4) * 2 - 1
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), step=step,
                train_loader=DataLoader(TensorDataset(starts[:6000]), batch_size=200, shuffle=True),
                val_loader=DataLoader(TensorDataset(starts[6000:]), batch_size=400))


# share of unseen starts where the greedy policy ends within 0.4 of the buoy
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy = p["model"]
    for epoch in range(30):
        for batch in p["train_loader"]:
            loss = p["step"](policy, batch, p["optimizer"])
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}  mean reward {step.reward:.3f}")
    start, = next(iter(p["val_loader"]))
    away = (start[:, :2] - start[:, 2:]).norm(dim=1)
    _, _, reward = sail(policy, start, greedy=True)
    score = (away - reward < 0.4).float().mean().item()
    print(f"score: {score:.4f}")
