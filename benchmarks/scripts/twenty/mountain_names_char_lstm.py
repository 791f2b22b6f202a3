"""A character LSTM tells from which range a mountain's name comes. Mistake: nn.NLLLoss is given the scores of a plain linear layer. change: the scores go through log_softmax first."""
import random
import string
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

RANGES = {"alps": (["horn", "stock", "spitz", "kogel"], 0.45), "pyrenees": (["puig", "pica", "estats", "neu"], 0.25),
          "carpathians": (["ul", "escu", "ova", "hora"], 0.18), "himalaya": (["tse", "kang", "ri", "parbat"], 0.12)}
LETTERS = string.ascii_lowercase
LONGEST = 14


class MountainNames(Dataset):
    def __init__(self, count, seed):
        rng = random.Random(seed)
        names = list(RANGES)
        self.rows = []
        for label in rng.choices(range(4), weights=[RANGES[n][1] for n in names], k=count):
            stem = "".join(rng.choice("bdfgklmnrstvw") + rng.choice("aeiou") for _ in range(rng.randint(2, 3)))
            name = stem + rng.choice(RANGES[names[label]][0])
            self.rows.append((name[:LONGEST], label))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        name, label = self.rows[i]
        line = torch.zeros(LONGEST, len(LETTERS))
        for pos, letter in enumerate(name, start=LONGEST - len(name)):
            line[pos, LETTERS.index(letter)] = 1
        return line, label


class NameLSTM(nn.Module):
    def __init__(self, input_size, hidden_size, output_size, log_probabilities=True):
        super().__init__()
        self.input_layer = nn.Linear(input_size, hidden_size)
        self.rnn_layer = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        output = [nn.Linear(hidden_size, output_size)]
        if log_probabilities:
            output.append(nn.LogSoftmax(dim=1))
        self.output_layer = nn.Sequential(*output)

    def forward(self, line):
        states, _ = self.rnn_layer(self.input_layer(line))
        return self.output_layer(states[:, -1])


def parts(variant):
    torch.manual_seed(0)
    model = NameLSTM(len(LETTERS), 64, len(RANGES), log_probabilities=variant != "bad")
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            "loss_fn": nn.NLLLoss(),
            "train_loader": DataLoader(MountainNames(4000, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(MountainNames(800, 2), batch_size=200)}


WORKS = lambda score: score > 0.8


def mean_recall(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x).argmax(1), y) for x, y in loader]
    model.train()
    guess, truth = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return sum((guess[truth == c] == c).float().mean().item() for c in range(4)) / 4


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        current = 0.0
        for line, label in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](line), label)
            loss.backward()
            p["optimizer"].step()
            current += loss.item()
        print(f"epoch {epoch} loss {current / len(p['train_loader']):.4f} recall {mean_recall(p['model'], p['val_loader']):.3f}")
    score = mean_recall(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")
