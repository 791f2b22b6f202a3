"""A robot learns by policy gradient to reach a shelf in a 6 by 6 warehouse; the policy ends in softmax and its probabilities are handed to Categorical as logits, so no action can be likelier than 0.48; change: the policy returns the logits themselves."""
import sys
import torch
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

W, HORIZON = 6, 12
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


class ActorCritic(nn.Module):
    def __init__(self, squash):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4 * W, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.value = nn.Linear(64, 1)
        self.policy = nn.Sequential(nn.Linear(64, 4), nn.Softmax(dim=-1)) if squash else nn.Linear(64, 4)

    def forward(self, place):                       # (N, 4) whole numbers: row, column of robot and shelf
        h = self.body(nn.functional.one_hot(place, W).flatten(1).float())
        return self.policy(h), self.value(h).squeeze(1)


def rollout(model, robot, shelf):
    """Play all episodes of the batch side by side; rewards of -0.1 a step and +1 on arrival."""
    alive = torch.ones(len(robot))
    logps, values, entropies, rewards, masks = [], [], [], [], []
    for _ in range(HORIZON):
        out, v = model(torch.cat([robot, shelf], 1))
        dist = Categorical(logits=out)
        a = dist.sample()
        robot = (robot + MOVES[a]).clamp(0, W - 1)
        there = (robot == shelf).all(1).float()
        for store, item in zip((logps, values, entropies, rewards, masks),
                               (dist.log_prob(a), v, dist.entropy(), there - 0.1, alive)):
            store.append(item)
        alive = alive * (1 - there)
    return [torch.stack(s) for s in (logps, values, entropies, rewards, masks)], 1 - alive


def training_step(model, batch, gamma=0.95):
    (logp, v, ent, r, mask), _ = rollout(model, *batch)
    returns, g = [], torch.zeros(r.shape[1])
    for t in reversed(range(HORIZON)):
        g = (r[t] + gamma * g) * mask[t]
        returns.insert(0, g)
    returns = torch.stack(returns)
    adv = (returns - v).detach()
    adv = (adv - adv[mask > 0].mean()) / (adv[mask > 0].std() + 1e-6)
    pg = -(logp * adv * mask).sum() / mask.sum()
    critic = ((returns - v) ** 2 * mask).sum() / mask.sum()
    return pg + 0.5 * critic - 0.01 * (ent * mask).sum() / mask.sum()


def starts(n, seed):
    g = torch.Generator().manual_seed(seed)
    robot, shelf = torch.randint(0, W, (n, 2), generator=g), torch.randint(0, W, (n, 2), generator=g)
    keep = (robot != shelf).any(1)
    return robot[keep], shelf[keep]


def parts(variant):
    torch.manual_seed(0)
    model = ActorCritic(squash=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(*starts(6400, 1)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*starts(500, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for episode_block in range(6):
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            opt.step()
        with torch.no_grad():
            arrived = torch.cat([rollout(model, *b)[1] for b in p["val_loader"]]).mean().item()
        print(f"block {episode_block}: loss {loss.item():+.3f}  arrived in time {arrived:.3f}")
    print(f"score: {arrived:.4f}")
