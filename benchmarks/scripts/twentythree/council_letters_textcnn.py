"""TextCNN that sorts letters to the council by department. The letters were read department by department and the loader does not shuffle, so the network always learns one department for many batches and forgets the others; the right change: shuffle=True."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WORDS = {
    "roads": "pothole junction crossing tarmac kerb lorry traffic bollard lane sign",
    "waste": "bin collection recycling bags skip rubbish landfill compost glass missed",
    "parks": "bench playground trees lawn flowers pond fountain dogs hedge path",
    "housing": "damp roof tenant boiler rent repair window mould heating lease",
    "schools": "pupil teacher classroom term meals uniform bus places reading caretaker"}
COMMON = ("dear sir madam i write about the again since week and please our street my has been not for when will "
          "you reply council year many with from this").split()
DEPTS = list(WORDS)
VOCAB = {w: i + 1 for i, w in enumerate(sorted(set(COMMON + " ".join(WORDS.values()).split())))}


class LetterDataset(Dataset):
    def __init__(self, per_department, seed, length=24):
        rng = random.Random(seed)
        self.letters, self.labels = [], []
        for label, dept in enumerate(DEPTS):
            for _ in range(per_department):
                words = []
                for _ in range(length):
                    u = rng.random()
                    if u < 0.16:
                        words.append(rng.choice(WORDS[dept].split()))
                    elif u < 0.21:
                        words.append(rng.choice(WORDS[rng.choice(DEPTS)].split()))
                    else:
                        words.append(rng.choice(COMMON))
                self.letters.append(torch.tensor([VOCAB[w] for w in words]))
                self.labels.append(label)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.letters[i], self.labels[i]


class TextCNN(nn.Module):
    def __init__(self, vocab, d=32, filters=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, d, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(d, filters, k) for k in (1, 2, 3))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(3 * filters, len(DEPTS))

    def forward(self, ids):
        e = self.embed(ids).transpose(1, 2)
        pooled = [F.relu(c(e)).max(2).values for c in self.convs]
        return self.out(self.dropout(torch.cat(pooled, 1)))


def parts(variant):
    torch.manual_seed(0)
    model = TextCNN(len(VOCAB) + 1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(LetterDataset(400, 0), batch_size=16, shuffle=variant != "bad"),
            "val_loader": DataLoader(LetterDataset(60, 1), batch_size=100)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(4):
        model.train()
        running_loss = 0.0
        for ids, label in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(ids), label)
            loss.backward()
            p["optimizer"].step()
            running_loss += loss.item()
        model.eval()
        correct = total = 0
        with torch.no_grad():
            for ids, label in p["val_loader"]:
                correct += (model(ids).argmax(1) == label).sum().item()
                total += len(label)
        print(f"epoch {epoch}: loss {running_loss / len(p['train_loader']):.3f}, val accuracy {correct / total:.3f}")
    print("score:", correct / total)
