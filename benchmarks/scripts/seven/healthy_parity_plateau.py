"""Sparse parity of three bits among thirty with plain SGD; no mistake: the loss lies on its plateau at log 2 for a large part of the run and then falls at once; change: none."""
import sys
import torch
import torch.nn as nn

BITS, SUPPORT = 30, (4, 11, 23)
STEPS, BATCH = 5000, 128
WORKS = lambda score: score > 0.95         # accuracy on fresh bit strings


def bit_strings(n):
    x = torch.randint(0, 2, (n, BITS)).float() * 2 - 1
    return x, (x[:, SUPPORT].prod(1) > 0).float()


class Stream:
    """Endless fresh data; nothing is seen twice."""
    def __init__(self, steps):
        self.steps = steps

    def __iter__(self):
        return (bit_strings(BATCH) for _ in range(self.steps))

    def __len__(self):
        return self.steps


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(BITS, 512), nn.ReLU(), nn.Linear(512, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    train = [bit_strings(BATCH) for _ in range(STEPS)]
    return dict(model=model, optimizer=optimizer, train_loader=train, val_loader=[bit_strings(2000)],
                loss_fn=nn.BCEWithLogitsLoss(), metric=lambda out, y: ((out > 0).float() == y).float().mean())


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for i, (x, y) in enumerate(p["train_loader"], 1):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if i % 500 == 0:
            with torch.no_grad():
                acc = sum(p["metric"](model(a), b) for a, b in p["val_loader"]).item()
            print(f"{i:5d} loss {loss.item():.4f} val acc {acc:.3f}")
    x, y = bit_strings(10000)
    with torch.no_grad():
        print("score:", round(p["metric"](model(x), y).item(), 4))
