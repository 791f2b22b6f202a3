"""Sound: a dueling double DQN for a cart that brings books to a shelf and must not leave the floor, replay memory, target by a slow average, epsilon falling; nearly all carts fall or wander for the first epochs. change: nothing."""
import copy
import random
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GAMMA, SIDE = 0.93, 6
MOVES = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])


class Dueling(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4 * SIDE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.value, self.advantage = nn.Linear(hidden, 1), nn.Linear(hidden, len(MOVES))

    def forward(self, s):
        h = self.body(s)
        a = self.advantage(h)
        return self.value(h) + a - a.mean(1, keepdim=True)


def see(cart, shelf):
    return nn.functional.one_hot(torch.cat([cart.clamp(0, SIDE - 1), shelf], 1), SIDE).float().flatten(1)


def push(cart, shelf, action):
    cart = cart + MOVES[action]
    fallen = ((cart < 0) | (cart >= SIDE)).any(1)
    there = (cart == shelf).all(1)
    return cart, 5.0 * there.float() - 5.0 * fallen.float(), fallen | there


def mornings(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randint(0, SIDE, (n, 2), generator=g), torch.randint(0, SIDE, (n, 2), generator=g))


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    online = Dueling()
    slow = copy.deepcopy(online)
    for p in slow.parameters():
        p.requires_grad = False
    memory, count = [], [0]

    def step(model, batch, optimizer):
        cart, shelf = batch
        epsilon = max(0.1, 1.0 - count[0] / 250)
        for _ in range(10):
            s = see(cart, shelf)
            with torch.no_grad():
                a = model(s).argmax(1)
            a = torch.where(torch.rand(len(a)) < epsilon, torch.randint(0, len(MOVES), (len(a),)), a)
            cart, r, done = push(cart, shelf, a)
            memory.extend(zip(s, a, r, see(cart, shelf), done.float()))
            cart = torch.where(done[:, None], torch.randint(0, SIDE, cart.shape), cart)
        del memory[:-10000]
        for _ in range(5):
            s, a, r, s2, done = (torch.stack(t) for t in zip(*random.sample(memory, 64)))
            with torch.no_grad():
                best = model(s2).argmax(1, keepdim=True)
                y = r + GAMMA * (1 - done) * slow(s2).gather(1, best).squeeze(1)
            q = model(s).gather(1, a.unsqueeze(1)).squeeze(1)
            loss = nn.functional.smooth_l1_loss(q, y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            with torch.no_grad():
                for t, p in zip(slow.parameters(), model.parameters()):
                    t.lerp_(p, 0.02)
        count[0] += 1
        return loss

    return {"model": online, "optimizer": torch.optim.Adam(online.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(mornings(512, 1), 16, shuffle=True), "val_loader": DataLoader(mornings(300, 2), 300)}


@torch.no_grad()
def delivered(model, loader):
    cart, shelf = next(iter(loader))
    alive, there = torch.ones(len(cart), dtype=torch.bool), (cart == shelf).all(1)
    for _ in range(15):
        cart, r, _ = push(cart, shelf, model(see(cart, shelf)).argmax(1))
        there |= alive & (r > 0)
        alive &= r >= 0
    return there.float().mean().item()


WORKS = lambda score: score > 0.85  # share of carts that arrive within fifteen moves

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, delivered {delivered(p['model'], p['val_loader']):.3f}")
    print(f"score: {delivered(p['model'], p['val_loader']):.4f}")
