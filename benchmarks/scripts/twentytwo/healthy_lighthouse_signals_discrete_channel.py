"""A keeper who sees a ship (three attributes) and a harbour that must name it invent a code of four flashes: straight-through Gumbel-softmax between two networks; unusual: the message is drawn at random while training, and it is hard one-hot forward but soft backward."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
VALUES, ATTRS, FLASHES, COLOURS = 5, 3, 4, 6


class Keeper(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(VALUES * ATTRS, 96), nn.ReLU(), nn.Linear(96, FLASHES * COLOURS))

    def forward(self, ship):
        return self.net(F.one_hot(ship, VALUES).float().flatten(1)).view(-1, FLASHES, COLOURS)


class Harbour(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FLASHES * COLOURS, 96), nn.ReLU(), nn.Linear(96, ATTRS * VALUES))

    def forward(self, flashes):
        return self.net(flashes.flatten(1)).view(-1, VALUES, ATTRS)


class Signals(nn.Module):
    def __init__(self):
        super().__init__()
        self.keeper, self.harbour = Keeper(), Harbour()

    def forward(self, ship):
        logits = self.keeper(ship)
        if self.training:
            message = F.gumbel_softmax(logits, tau=1.0, hard=True)
        else:
            message = F.one_hot(logits.argmax(-1), COLOURS).float()
        return self.harbour(message)


def right_ships(out, ship):
    return (out.argmax(1) == ship).all(1).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    ships = torch.cartesian_prod(*[torch.arange(VALUES)] * ATTRS)       # all 125 ships
    traffic = ships[torch.randint(len(ships), (4000,))]
    model = Signals()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(traffic, traffic), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(ships, ships), batch_size=125), "metric": right_ships}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        losses = []
        for ship, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(ship), target)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            ship, target = next(iter(p["val_loader"]))
            score = right_ships(model(ship), target)
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} ships understood {score:.3f}")
    print("score:", score)
