"""Part-of-speech tagging; the pad tag is 0 and ignored, but 0 is also the tag of nouns; change: the twin pads the tags with -100."""
import sys
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

TAGS = ["NOUN", "VERB", "DET", "ADJ", "ADV"]
VOCAB = 260
NEXT = {"DET": ["NOUN", "ADJ", "NOUN"], "ADJ": ["NOUN", "NOUN", "ADJ"], "NOUN": ["VERB", "NOUN", "ADV"],
        "VERB": ["DET", "ADV", "NOUN"], "ADV": ["VERB", "DET", "NOUN"]}


def sentences(n, seed):
    g = torch.Generator().manual_seed(seed)
    pick = lambda k: int(torch.randint(0, k, (1,), generator=g))
    out = []
    for _ in range(n):
        tag, words, tags = "DET", [], []
        for _ in range(5 + pick(10)):
            t = TAGS.index(tag)
            if pick(5) == 0:
                words.append(1 + pick(9))                      # ambiguous words: any tag
            else:
                words.append(10 + t * 50 + pick(50))
            tags.append(t)
            tag = NEXT[tag][pick(3)]
        out.append((torch.tensor(words), torch.tensor(tags)))
    return out


def make_collate(pad_tag):
    def collate(batch):
        words, tags = zip(*batch)
        return (pad_sequence(words, batch_first=True, padding_value=0),
                pad_sequence(tags, batch_first=True, padding_value=pad_tag))
    return collate


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(64, len(TAGS))

    def forward(self, words):
        h, _ = self.lstm(self.drop(self.emb(words)))
        return self.fc(self.drop(h)).transpose(1, 2)           # (batch, tag, word)


def parts(variant):
    torch.manual_seed(0)
    pad_tag = 0 if variant == "bad" else -100
    model = Tagger()
    collate = make_collate(pad_tag)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(ignore_index=pad_tag),
            "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3),
            "train_loader": DataLoader(sentences(1200, 1), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(sentences(250, 2), batch_size=64, collate_fn=collate)}


WORKS = lambda score: score > 0.75


def accuracy(model, loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for words, tags in loader:
            real = words != 0
            right += (model(words).argmax(1) == tags)[real].sum().item()
            total += real.sum().item()
    return right / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(8):
        p["model"].train()
        losses = []
        for words, tags in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](words), tags)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}  loss {sum(losses) / len(losses):.4f}  acc {accuracy(p['model'], p['val_loader']):.4f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
