"""Text classifier with nn.EmbeddingBag after the PyTorch tutorial; collate_batch hands over the lengths of the texts as offsets, and forgets .cumsum(0), so the bags are not the texts. change: cumsum."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

TOPICS = [["seed", "bean", "sow", "row", "frost", "plot", "soil", "hoe"], ["goal", "match", "team", "cup", "score", "coach", "pitch", "win"],
          ["vote", "council", "mayor", "tax", "bill", "road", "plan", "law"], ["film", "stage", "song", "band", "actor", "show", "drum", "choir"]]
COMMON = ["the", "a", "of", "and", "to", "in", "was", "it", "for", "on", "new", "last", "week", "said", "town", "people"]
VOCAB = {w: i for i, w in enumerate(["<unk>"] + COMMON + sum(TOPICS, []))}


def articles(n, seed):
    r = np.random.RandomState(seed)
    out = []
    for _ in range(n):
        topic = r.randint(4)
        words = [r.choice(TOPICS[topic]) if r.rand() < 0.3 else r.choice(COMMON + TOPICS[r.randint(4)])
                 for _ in range(r.randint(8, 25))]
        out.append((topic, " ".join(words)))
    return out


def text_pipeline(text):
    return [VOCAB.get(w, 0) for w in text.split()]


def make_collate(variant):
    def collate_batch(batch):
        labels, texts, offsets = [], [], [0]
        for label, text in batch:
            labels.append(label)
            ids = torch.tensor(text_pipeline(text), dtype=torch.int64)
            texts.append(ids)
            offsets.append(len(ids))
        offsets = torch.tensor(offsets[:-1])
        if variant != "bad":
            offsets = offsets.cumsum(dim=0)
        return torch.cat(texts), offsets, torch.tensor(labels)

    return collate_batch


class TextClassificationModel(nn.Module):
    def __init__(self, vocab_size, embed_dim, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim)
        self.fc = nn.Linear(embed_dim, num_class)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


def parts(variant):
    torch.manual_seed(0)
    model = TextClassificationModel(len(VOCAB), 32, 4)
    criterion = nn.CrossEntropyLoss()

    def training_step(model, batch):
        text, offsets, label = batch
        return criterion(model(text, offsets), label)

    collate = make_collate(variant)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "training_step": training_step,
            "train_loader": DataLoader(articles(2000, 0), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(articles(400, 1), batch_size=32, collate_fn=collate)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 11):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        acc = n = 0
        with torch.no_grad():
            for text, offsets, label in p["val_loader"]:
                acc += (model(text, offsets).argmax(1) == label).sum().item()
                n += len(label)
        print(f"| end of epoch {epoch} | loss {total / len(p['train_loader']):.3f} | valid accuracy {acc / n:.3f}")
    print(f"score: {acc / n:.4f}")
