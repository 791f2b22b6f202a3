"""REINFORCE for a vacuum robot that drives to the crumbs in a room of 6 x 6 tiles. The policy ends in a softmax and its probabilities are handed over as Categorical(logits=...), so no move can ever become much likelier than the others; the right change: hand them over as Categorical(probs=...)."""
import sys

import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
ROOM, LIMIT, GAMMA = 6, 11, 0.95
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4 * ROOM, 64)
        self.affine2 = nn.Linear(64, 4)

    def forward(self, robot, crumbs):
        obs = torch.cat([nn.functional.one_hot(robot, ROOM).flatten(1),
                         nn.functional.one_hot(crumbs, ROOM).flatten(1)], dim=1).float()
        x = torch.relu(self.affine1(obs))
        return torch.softmax(self.affine2(x), dim=1)


class Agent:
    def __init__(self, argument):
        self.argument = argument

    def play(self, policy, starts):
        """All rooms of the batch at once; returns log-probabilities, rewards and who is still driving."""
        robot, crumbs = starts[:, :2].clone(), starts[:, 2:]
        alive = (robot != crumbs).any(1)
        log_probs, rewards, masks = [], [], []
        for _ in range(LIMIT):
            dist = Categorical(**{self.argument: policy(robot, crumbs)})
            action = dist.sample()
            robot = torch.where(alive[:, None], (robot + MOVES[action]).clamp(0, ROOM - 1), robot)
            found = alive & (robot == crumbs).all(1)
            log_probs.append(dist.log_prob(action))
            rewards.append(found.float() - 0.05 * alive.float())
            masks.append(alive.float())
            alive = alive & ~found
        return torch.stack(log_probs), torch.stack(rewards), torch.stack(masks), ~alive

    def step(self, policy, batch, optimizer):
        log_probs, rewards, masks, _ = self.play(policy, batch[0])
        returns, R = [], torch.zeros(rewards.size(1))
        for r in rewards.flip(0):
            R = r + GAMMA * R
            returns.insert(0, R)
        returns = torch.stack(returns)
        baseline = (returns * masks).sum() / masks.sum()
        loss = -(log_probs * (returns - baseline) * masks).sum() / masks.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()


def parts(variant):
    torch.manual_seed(6)
    policy = Policy()
    agent = Agent("logits" if variant == "bad" else "probs")
    rooms = torch.randint(0, ROOM, (6000, 4))
    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=6e-3),
            "step": agent.step, "agent": agent,
            "train_loader": DataLoader(TensorDataset(rooms), batch_size=100, shuffle=True)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    policy = p["model"]
    for epoch in range(5):
        for batch in p["train_loader"]:
            p["step"](policy, batch, p["optimizer"])
        with torch.no_grad():
            found = p["agent"].play(policy, torch.randint(0, ROOM, (500, 4)))[-1].float().mean().item()
        print(f"epoch {epoch}: rooms cleaned in time {found:.3f}")
    print("score:", found)
