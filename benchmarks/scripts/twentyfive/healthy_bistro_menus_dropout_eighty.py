"""Guesses the cuisine of a menu from which of 400 words stand on it. What could look odd: dropout of 0.8 on the input words and 0.5 on the hidden layer; the training loss stays far above the held-out loss. Why it is right: there are only 600 menus and many words, each menu holds many hints, and dropout is off in eval, where the score (accuracy) is taken; with it more menus are named right than without."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
WORDS, CUISINES = 400, 8


def print_menus(n, rng, word_odds):
    cuisine = rng.integers(0, CUISINES, n)
    length_factor = rng.uniform(0.6, 1.4, (n, 1))
    present = rng.random((n, WORDS)) < np.clip(word_odds[cuisine] * length_factor, 0, 0.95)
    return TensorDataset(torch.tensor(present, dtype=torch.float32), torch.tensor(cuisine))


class MenuNet(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.words_out = nn.Dropout(0.8)
        self.hidden = nn.Linear(WORDS, hidden)
        self.hidden_out = nn.Dropout(0.5)
        self.cuisine = nn.Linear(hidden, CUISINES)

    def forward(self, words):
        h = torch.relu(self.hidden(self.words_out(words)))
        return self.cuisine(self.hidden_out(h))


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(29)
    rng = np.random.default_rng(290)
    common = rng.beta(0.6, 6.0, (1, WORDS))
    own = rng.random((CUISINES, WORDS)) < 0.08
    word_odds = common + own * rng.uniform(0.1, 0.35, (CUISINES, WORDS))
    train, val = print_menus(600, rng, word_odds), print_menus(600, rng, word_odds)
    model = MenuNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=30, shuffle=True),
            "val_loader": DataLoader(val, batch_size=300)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        train_loss = 0.0
        for words, cuisine in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(words), cuisine)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(x) for x, _ in p["val_loader"]])
            truth = torch.cat([y for _, y in p["val_loader"]])
        if epoch % 6 == 5:
            print(f"epoch {epoch}: train loss {train_loss:.3f}, held-out loss {loss_fn(logits, truth):.3f}")
    print("score:", p["metric"](logits, truth))
