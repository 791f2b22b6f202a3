"""Deep Q-learning for a lawn mower: it drives cell by cell to its dock and pays 1 for every move; the value network ends in a ReLU, so it cannot say a negative value (bad). change: no activation after the last layer."""
import copy
import random
import sys
from collections import deque
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIDE, GAMMA = 7, 0.95
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


def places(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randint(0, SIDE, (n, 2), generator=g), torch.randint(0, SIDE, (n, 2), generator=g))


def observe(mower, dock):
    return torch.cat([mower, dock], 1).float() / (SIDE - 1) * 2 - 1


def drive(mower, action):
    return (mower + MOVES[action]).clamp(0, SIDE - 1)


class QNet(nn.Module):
    def __init__(self, sizes, last_relu):
        super().__init__()
        layers = []
        for a, b in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.net = nn.Sequential(*(layers if last_relu else layers[:-1]))

    def forward(self, s):
        return self.net(s)


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    q = QNet([4, 96, 96, 4], last_relu=variant == "bad")
    target = copy.deepcopy(q)
    buffer = deque(maxlen=6000)
    count = [0]

    def step(model, batch, optimizer):
        mower, dock = batch
        for _ in range(12):
            s = observe(mower, dock)
            with torch.no_grad():
                a = model(s).argmax(1)
            a = torch.where(torch.rand(len(a)) < 0.3, torch.randint(0, 4, (len(a),)), a)
            mower = drive(mower, a)
            done = (mower == dock).all(1)
            buffer.extend(zip(s, a, observe(mower, dock), done.float()))
            mower = torch.where(done[:, None], torch.randint(0, SIDE, mower.shape), mower)
        losses = []
        for _ in range(6):
            s, a, s2, done = (torch.stack(v) for v in zip(*random.sample(buffer, 64)))
            with torch.no_grad():
                y = -1 + GAMMA * (1 - done) * target(s2).max(1).values
            loss = nn.functional.smooth_l1_loss(model(s).gather(1, a[:, None]).squeeze(1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        count[0] += 1
        if count[0] % 8 == 0:
            target.load_state_dict(model.state_dict())
        return sum(losses) / len(losses)

    return {"model": q, "optimizer": torch.optim.Adam(q.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(places(512, 1), 16, shuffle=True), "val_loader": DataLoader(places(200, 2), 200)}


@torch.no_grad()
def moves_needed(q, loader):
    mower, dock = next(iter(loader))
    steps = torch.full((len(mower),), 30.0)
    steps[(mower == dock).all(1)] = 0
    for i in range(1, 30):
        mower = torch.where((steps < 30)[:, None], mower, drive(mower, q(observe(mower, dock)).argmax(1)))
        steps[(mower == dock).all(1) & (steps == 30)] = i
    return steps.mean().item()


WORKS = lambda score: score < 8  # mean moves to the dock, 30 at most

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        losses = [p["step"](p["model"], batch, p["optimizer"]) for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, moves {moves_needed(p['model'], p['val_loader']):.2f}")
    print(f"score: {moves_needed(p['model'], p['val_loader']):.4f}")
