"""Which desk a letter to the editor goes to: a TextCNN with three filter widths and max pooling over time on padded word ids; unusual: many words are padding and many embedding rows never appear in training, so their gradient is zero."""
import sys
import random
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

torch.set_num_threads(1)
PAD, UNK = 0, 1
DESKS = ["roads", "schools", "sport", "council"]
PHRASES = {
    "roads": ["pot holes", "bus lane", "speed bump", "road works", "cycle path"],
    "schools": ["class size", "head teacher", "school lunch", "exam results", "reading hour"],
    "sport": ["home match", "running club", "cricket pitch", "pool hours", "cup final"],
    "council": ["council tax", "planning office", "town hall", "waste bins", "local election"],
}
FILLER = ("dear editor i was sorry to read that the and once again nobody seems to notice how our town has changed since last spring "
          "may i say a word about this my neighbour agrees yours sincerely hours path works club class office match lunch tax").split()


def write_letter(rng):
    desk = rng.randrange(4)
    words = [rng.choice(FILLER) for _ in range(rng.randint(10, 34))]
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(words))
        words[at:at] = rng.choice(PHRASES[DESKS[desk]]).split()
    if rng.random() < 0.3:
        # a word from another desk, alone
        words.insert(rng.randrange(len(words)), rng.choice(PHRASES[rng.choice(DESKS)]).split()[1])
    return words, desk


class Letters(Dataset):
    def __init__(self, letters, vocab):
        self.rows = [(torch.tensor([vocab.get(w, UNK) for w in words]), desk) for words, desk in letters]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(batch):
    ids = nn.utils.rnn.pad_sequence([b[0] for b in batch], batch_first=True, padding_value=PAD)
    return ids, torch.tensor([b[1] for b in batch])


class TextCNN(nn.Module):
    def __init__(self, n_words, n_classes, dim=32, n_filters=24, widths=(2, 3, 4)):
        super().__init__()
        self.embed = nn.Embedding(n_words, dim, padding_idx=PAD)
        self.convs = nn.ModuleList(nn.Conv1d(dim, n_filters, w) for w in widths)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(n_filters * len(widths), n_classes)

    def forward(self, ids):
        e = self.embed(ids).transpose(1, 2)
        pooled = [F.relu(c(e)).amax(2) for c in self.convs]
        return self.out(self.drop(torch.cat(pooled, 1)))


def parts(variant):
    torch.manual_seed(1)
    rng = random.Random(1)
    letters = [write_letter(rng) for _ in range(2400)]
    train, val = letters[:1900], letters[1900:]
    vocab = {}
    for words, _ in train:
        for w in words:
            vocab.setdefault(w, len(vocab) + 2)
    # leave room, the archive has more words than our sample
    model = TextCNN(2000, 4)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Letters(train, vocab), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(Letters(val, vocab), batch_size=100, collate_fn=collate),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        running = []
        for ids, desk in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(ids), desk)
            loss.backward()
            opt.step()
            running.append(loss.item())
        net.eval()
        right = 0
        with torch.no_grad():
            for ids, desk in p["val_loader"]:
                right += (net(ids).argmax(1) == desk).sum().item()
        print("epoch", epoch, "loss", round(np.mean(running), 4), "acc", right / 500)
    print("score:", right / 500)
