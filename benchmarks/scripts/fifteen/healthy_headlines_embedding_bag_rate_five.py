"""Healthy: the text-classification tutorial: an EmbeddingBag over headlines joined to one long vector with offsets from the collate function, small uniform weights, SGD at a rate of 5 with the gradient clipped to 0.1, rate cut to a tenth later. change: nothing, it is sound."""
import random
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

KINDS = {
    "World": "minister election treaty border embassy summit protest parliament".split(),
    "Sports": "match goal coach season striker tournament medal referee".split(),
    "Business": "shares profit merger bank inflation quarter investors retailer".split(),
    "Science": "telescope genome probe laboratory fossil vaccine orbit particle".split(),
}
COMMON = "the a of in new after over says report week plan two first team major leader record deal early for".split()
LABELS = list(KINDS)


def headlines(n, seed):
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        label = rng.choice(LABELS)
        other = rng.choice(LABELS)
        words = [rng.choice(KINDS[label]) for _ in range(rng.randint(1, 3))]
        words += [rng.choice(KINDS[other])] if rng.random() < 0.15 else []
        words += [rng.choice(COMMON) for _ in range(rng.randint(3, 9))]
        rng.shuffle(words)
        rows.append((label, " ".join(words)))
    return rows


def tokenizer(line):
    return line.lower().split()


vocab = {"<unk>": 0}
for _, line in headlines(2000, 0):
    for token in tokenizer(line):
        vocab.setdefault(token, len(vocab))

text_pipeline = lambda line: [vocab.get(token, 0) for token in tokenizer(line)]
label_pipeline = lambda label: LABELS.index(label)


def collate_batch(batch):
    label_list, text_list, offsets = [], [], [0]
    for _label, _text in batch:
        label_list.append(label_pipeline(_label))
        processed_text = torch.tensor(text_pipeline(_text), dtype=torch.int64)
        text_list.append(processed_text)
        offsets.append(processed_text.size(0))
    label_list = torch.tensor(label_list, dtype=torch.int64)
    offsets = torch.tensor(offsets[:-1]).cumsum(dim=0)
    return label_list, torch.cat(text_list), offsets


class TextClassificationModel(nn.Module):
    def __init__(self, vocab_size, embed_dim, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim, sparse=False)
        self.fc = nn.Linear(embed_dim, num_class)
        self.init_weights()

    def init_weights(self):
        initrange = 0.5
        self.embedding.weight.data.uniform_(-initrange, initrange)
        self.fc.weight.data.uniform_(-initrange, initrange)
        self.fc.bias.data.zero_()

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


criterion = nn.CrossEntropyLoss()


def step(model, batch, optimizer):
    label, text, offsets = batch
    optimizer.zero_grad()
    loss = criterion(model(text, offsets), label)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = TextClassificationModel(len(vocab), 64, len(LABELS))
    optimizer = torch.optim.SGD(model.parameters(), lr=5)
    return dict(
        model=model,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 6, gamma=0.1),
        step=step,
        train_loader=DataLoader(headlines(4000, 1), batch_size=64, shuffle=True, collate_fn=collate_batch),
        val_loader=DataLoader(headlines(800, 2), batch_size=64, collate_fn=collate_batch),
    )


# the borrowed word makes a few headlines undecidable
WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(1, 9):
        model.train()
        total = sum(step(model, batch, p["optimizer"]).item() for batch in p["train_loader"])
        p["scheduler"].step()
        print(f"| epoch {epoch:3d} | loss {total / len(p['train_loader']):8.3f}")
    model.eval()
    total_acc, total_count = 0, 0
    with torch.no_grad():
        for label, text, offsets in p["val_loader"]:
            total_acc += (model(text, offsets).argmax(1) == label).sum().item()
            total_count += label.size(0)
    score = total_acc / total_count
    print(f"score: {score:.4f}")
