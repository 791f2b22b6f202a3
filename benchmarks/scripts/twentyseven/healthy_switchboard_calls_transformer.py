"""A small transformer encoder sorts what callers say to a town hall switchboard into six departments. Nothing odd: padding masked in the attention and in the mean, learned positions, RAdam with a step schedule per epoch; held-out accuracy."""
import random

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
TOPICS = {"parking": "permit ticket zone car fine space".split(), "refuse": "bin bags collection bulky skip recycling".split(),
          "housing": "rent flat repair damp tenancy heating".split(), "library": "book loan card reserve return reading".split(),
          "council_tax": "band bill discount payment instalment arrears".split(), "planning": "extension permission fence plans objection loft".split()}
FILLER = "hello i would like to ask about my the a please when can you tell me it is for street again last week".split()
PAD, UNK = 0, 1


def say(rng):
    label = rng.randrange(len(TOPICS))
    names = list(TOPICS)
    words = [rng.choice(FILLER) for _ in range(rng.randint(4, 12))]
    for _ in range(rng.randint(2, 3)):
        words.insert(rng.randint(0, len(words)), rng.choice(TOPICS[names[label]]))
    if rng.random() < 0.6:
        words.insert(rng.randint(0, len(words)), rng.choice(TOPICS[rng.choice(names)]))
    return words, label


def collate(vocab):
    def build(items):
        width = max(len(w) for w, _ in items)
        ids = torch.full((len(items), width), PAD)
        for row, (words, _) in enumerate(items):
            ids[row, :len(words)] = torch.tensor([vocab.get(w, UNK) for w in words])
        return ids, torch.tensor([label for _, label in items])
    return build


class CallEncoder(nn.Module):
    def __init__(self, vocab_size, dim=48, max_len=32):
        super().__init__()
        self.tok = nn.Embedding(vocab_size, dim, padding_idx=PAD)
        self.pos = nn.Parameter(0.02 * torch.randn(max_len, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, len(TOPICS))

    def forward(self, ids):
        padding = ids == PAD
        x = self.encoder(self.tok(ids) + self.pos[:ids.size(1)], src_key_padding_mask=padding)
        keep = (~padding).unsqueeze(-1).float()
        return self.head((x * keep).sum(1) / keep.sum(1))


def accuracy(logits, labels):
    return (logits.argmax(-1) == labels).float().mean().item()


def parts(variant):
    torch.manual_seed(15)
    rng = random.Random(15)
    calls = [say(rng) for _ in range(2400)]
    train, held = calls[:2000], calls[2000:]
    vocab = {w: i + 2 for i, w in enumerate(sorted({w for words, _ in train for w in words}))}
    model = CallEncoder(len(vocab) + 2)
    return {"model": model, "optimizer": torch.optim.RAdam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=40, shuffle=True, collate_fn=collate(vocab)),
            "val_loader": DataLoader(held, batch_size=100, collate_fn=collate(vocab)), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    model, optimizer = p["model"], p["optimizer"]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for epoch in range(4):
        model.train()
        for ids, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(ids), labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            score = sum(p["metric"](model(ids), labels) for ids, labels in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {score:.3f}")
    print("score:", score)
