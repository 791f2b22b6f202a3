"""Healthy: the char-RNN tutorial's hand-built recurrent cell reads made-up surnames one letter after the other and one name after the other, LogSoftmax with NLLLoss, plain SGD; a batch is a list of names of unequal length. change: nothing, it is sound."""
import random
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
STEMS = ["mar", "pet", "ol", "vin", "bar", "kor", "lun", "tas", "nik", "hol", "ser", "dan"]
ENDINGS = {
    "italian": ["elli", "ino", "etti", "ucci"],
    "russian": ["ov", "sky", "enko", "in"],
    "greek": ["opoulos", "akis", "idis", "atos"],
    "swedish": ["sson", "qvist", "lund", "berg"],
}
COUNTRIES = list(ENDINGS)


def line_to_tensor(line):
    tensor = torch.zeros(len(line), 1, len(ALPHABET))
    for i, letter in enumerate(line):
        tensor[i][0][ALPHABET.index(letter)] = 1
    return tensor


class Surnames(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.rows = []
        for _ in range(n):
            c = rng.randrange(len(COUNTRIES))
            name = "".join(rng.choice(STEMS) for _ in range(rng.randint(1, 2))) + rng.choice(ENDINGS[COUNTRIES[c]])
            self.rows.append((name, c))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        name, c = self.rows[i]
        return line_to_tensor(name), torch.tensor([c])


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def cell(self, letter, hidden):
        return torch.tanh(self.i2h(letter) + self.h2h(hidden))

    def forward(self, line):
        hidden = torch.zeros(1, self.hidden_size)
        for letter in line:
            hidden = self.cell(letter, hidden)
        return self.softmax(self.h2o(hidden))


criterion = nn.NLLLoss()


def step(model, batch, optimizer):
    optimizer.zero_grad()
    loss = 0
    for line, category in batch:
        loss = loss + criterion(model(line), category)
    loss = loss / len(batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 3)
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = RNN(len(ALPHABET), 64, len(COUNTRIES))
    return dict(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        step=step,
        train_loader=DataLoader(Surnames(400, 1), batch_size=4, shuffle=True, collate_fn=list),
        val_loader=DataLoader(Surnames(150, 2), batch_size=50, collate_fn=list),
    )


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        losses = [step(p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    right = total = 0
    with torch.no_grad():
        for batch in p["val_loader"]:
            for line, category in batch:
                right += int(p["model"](line).argmax(1) == category)
                total += 1
    score = right / total
    print(f"score: {score:.4f}")
