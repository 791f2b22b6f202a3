"""Self-play for the game of Nim (three heaps of up to 5, whoever takes the last wins): a value network plays both sides with epsilon-greedy moves and learns by negamax one-step targets from a slow copy. Unusual: no data but its own games; the score is the share of won positions in which its move is a winning one by nim-sum."""
import copy
import itertools
import random
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
MAXH, GAMES = 5, 900
STATES = [s for s in itertools.product(range(MAXH + 1), repeat=3) if any(s)]


def children(s):
    return [tuple(h - k if i == j else h for j, h in enumerate(s)) for i in range(3) for k in range(1, s[i] + 1)]


def encode(states):
    t = torch.tensor(states)
    return nn.functional.one_hot(t, MAXH + 1).flatten(1).float()


class Value(nn.Module):
    """expected result (-1..1) for the player who is to move"""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3 * (MAXH + 1), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, x):
        return self.net(x).squeeze(1).tanh()


@torch.no_grad()
def move_values(model, s):
    """value for the mover of each child: minus the value for the opponent, who has lost at empty heaps"""
    kids = children(s)
    v = -model(encode(kids))
    return kids, torch.where(torch.tensor([not any(k) for k in kids]), torch.ones(len(kids)), v)


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    model = Value()
    slow = copy.deepcopy(model)
    memory, count = [], [0]

    def play(eps):
        s = tuple(random.randint(0, MAXH) for _ in range(3))
        while any(s):
            memory.append(s)
            kids, v = move_values(model, s)
            s = random.choice(kids) if random.random() < eps else kids[v.argmax().item()]
        del memory[:-4000]

    def step(model, batch, optimizer):
        play(eps=0.3)
        states = random.choices(memory, k=48)
        all_kids = [children(s) for s in states]
        flat = [k for kids in all_kids for k in kids]
        with torch.no_grad():
            v = -slow(encode(flat))
            v[[i for i, k in enumerate(flat) if not any(k)]] = 1.0
            target = torch.stack([part.max() for part in v.split([len(k) for k in all_kids])])
        loss = nn.functional.mse_loss(model(encode(states)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count[0] += 1
        if count[0] % 30 == 0:
            slow.load_state_dict(model.state_dict())
        return loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "step": step,
            "train_loader": DataLoader(range(GAMES), batch_size=1)}        # one game per step


WORKS = lambda score: score > 0.9


def winning_moves(model):
    good = total = 0
    for s in STATES:
        if s[0] ^ s[1] ^ s[2]:
            kids, v = move_values(model, s)
            k = kids[v.argmax().item()]
            good += (k[0] ^ k[1] ^ k[2]) == 0
            total += 1
    return good / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("untrained:", winning_moves(p["model"]))
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], batch, p["optimizer"])
        if i % 150 == 149:
            print(f"game {i + 1}: loss {loss.item():.4f}  winning moves {winning_moves(p['model']):.3f}")
    print("score:", winning_moves(p["model"]))
