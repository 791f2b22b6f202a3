"""Sound: tanh MLP under plain SGD that learns the parity of 3 of 8 switches; the loss stays near 0.693 for many epochs and then falls; variant is ignored. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SWITCHES = 8
INVOLVED = (1, 4, 6)


def switch_positions(n, seed):
    g = torch.Generator().manual_seed(seed)
    on = torch.randint(0, 2, (n, SWITCHES), generator=g)
    lamp = on[:, INVOLVED].sum(1, keepdim=True) % 2
    return TensorDataset(on.float() * 2 - 1, lamp.float())


class LampNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.hidden1 = nn.Linear(SWITCHES, width)
        self.hidden2 = nn.Linear(width, width)
        self.lamp = nn.Linear(width, 1)

    def forward(self, x):
        return self.lamp(torch.tanh(self.hidden2(torch.tanh(self.hidden1(x)))))


def parts(variant):
    torch.manual_seed(0)
    model = LampNet()
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.03),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(switch_positions(1024, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(switch_positions(512, 2), batch_size=128)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(80):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 0 or epoch == 79:
            print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        right = sum(((model(x) > 0) == (y > 0.5)).sum().item() for x, y in p["val_loader"])
    score = right / 512
    print(f"score: {score:.4f}")
