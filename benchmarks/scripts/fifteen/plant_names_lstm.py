"""The tutorial's classifier of names by their letters, here invented plant names of eight families, with an LSTM and SGD; bad: the net ends in a softmax (the tutorial's LogSoftmax, half remembered) under CrossEntropyLoss; change: the scores go out as they are."""
import random
import string
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

all_letters = string.ascii_lowercase
n_letters = len(all_letters) + 1
MAX_LEN = 14

ENDINGS = {"rosaceae": ["osa", "rubus", "prunia"], "fabaceae": ["faba", "lupin", "vicia"],
           "poaceae": ["poa", "avena", "festu"], "apiaceae": ["apium", "daucu", "conio"],
           "liliaceae": ["lilia", "tulip", "fritil"], "ericaceae": ["erica", "vaccin", "callun"],
           "betulaceae": ["betul", "alnus", "coryl"], "salicaceae": ["salix", "popul", "choseni"]}
families = list(ENDINGS)


def make_names(n, seed):
    rng = random.Random(seed)
    data = []
    for _ in range(n):
        k = rng.randrange(len(families))
        stem = "".join(rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(1, 3)))
        tail = "".join(rng.choice("aeiou") + rng.choice("nrst") for _ in range(rng.randint(0, 1)))
        data.append((stem + rng.choice(ENDINGS[families[k]]) + tail, k))
    return data


def letterToIndex(letter):
    return all_letters.find(letter)


def lineToTensor(line):
    tensor = torch.zeros(MAX_LEN, n_letters)
    line = line[:MAX_LEN].rjust(MAX_LEN)
    for li, letter in enumerate(line):
        tensor[li][letterToIndex(letter)] = 1
    return tensor


class NameLSTM(nn.Module):
    def __init__(self, input_size, hidden_size, output_size, softmax):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, line_tensor):
        rnn_out, (hidden, cell) = self.lstm(line_tensor)
        output = self.h2o(hidden[0])
        return self.softmax(output)


def parts(variant):
    torch.manual_seed(0)
    train = [(lineToTensor(name), k) for name, k in make_names(2000, 1)]
    val = [(lineToTensor(name), k) for name, k in make_names(400, 2)]
    rnn = NameLSTM(n_letters, 96, len(families), softmax=variant == "bad")
    return {"model": rnn, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(rnn.parameters(), lr=0.1, momentum=0.9),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    rnn, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(1, 13):
        rnn.train()
        current_loss = 0
        for line_tensor, category in p["train_loader"]:
            rnn.zero_grad()
            output = rnn(line_tensor)
            loss = criterion(output, category)
            loss.backward()
            optimizer.step()
            current_loss += loss.item() / len(p["train_loader"])
        rnn.eval()
        with torch.no_grad():
            hits = sum((rnn(x).argmax(1) == k).sum().item() for x, k in p["val_loader"])
        score = hits / len(p["val_loader"].dataset)
        print(f"{epoch} loss {current_loss:.4f} accuracy {score:.3f}")
    print(f"score: {score:.4f}")
