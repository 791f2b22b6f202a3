"""Notes handed in at a lost property office, sorted into eight shelves by a bag of word embeddings; a note is filed by itself where the network is at least 70 % sure, and the score is the share of held-out notes filed by themselves and rightly. Label smoothing of 0.9 leaves the true shelf a target of 0.21 only, so the network is never sure of anything; the right change: a mild label_smoothing=0.05."""
import random
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
SHELVES = {
    "umbrellas": "umbrella black folding handle striped wind rain telescopic wooden canopy",
    "keys": "key ring fob car door padlock bunch brass tag locker",
    "bags": "bag rucksack suitcase strap zip leather canvas wheels pocket tote",
    "phones": "phone screen case charger android cracked battery locked sim ringing",
    "clothes": "coat scarf glove wool jacket hat sleeve knitted cardigan size",
    "glasses": "glasses lens frame reading sunglasses case bridge hinge spectacles tinted",
    "toys": "teddy doll toy rabbit plush ears train bricks puppet child",
    "purses": "wallet purse cards coins cash leather receipt notes photo licence",
}
COMMON = ("the a with on in found left seat bus train near of and blue red black small old new it was platform "
          "morning driver window please call number lady gentleman").split()


def note(rng):
    shelf = rng.randrange(len(SHELVES))
    lists = [words.split() for words in SHELVES.values()]
    words = []
    for _ in range(rng.randint(5, 14)):
        r = rng.random()
        if r < 0.35:
            words.append(rng.choice(lists[shelf]))
        elif r < 0.43:
            words.append(rng.choice(rng.choice(lists)))
        else:
            words.append(rng.choice(COMMON))
    return " ".join(words), shelf


class Vocabulary:
    def __init__(self, texts):
        self.index = {w: i + 1 for i, w in enumerate(sorted({w for t in texts for w in t.split()}))}

    def __len__(self):
        return len(self.index) + 1

    def collate(self, items):
        ids = [[self.index.get(w, 0) for w in text.split()] for text, _ in items]
        offsets = torch.tensor([0] + [len(i) for i in ids[:-1]]).cumsum(0)
        return (torch.tensor(sum(ids, [])), offsets), torch.tensor([shelf for _, shelf in items])


class NoteSorter(nn.Module):
    def __init__(self, words, dim=32):
        super().__init__()
        self.bag = nn.EmbeddingBag(words, dim, mode="sum")
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, len(SHELVES)))

    def forward(self, inputs):
        ids, offsets = inputs
        return self.out(self.bag(ids, offsets))


def filed_rightly(logits, shelf):
    sure, guess = logits.softmax(-1).max(-1)
    return ((sure > 0.7) & (guess == shelf)).float().mean()


def parts(variant):
    torch.manual_seed(14)
    rng = random.Random(14)
    notes = [note(rng) for _ in range(3000)]
    vocabulary = Vocabulary([text for text, _ in notes[:2400]])
    model = NoteSorter(len(vocabulary))
    smoothing = 0.9 if variant == "bad" else 0.05
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(label_smoothing=smoothing),
            "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "train_loader": DataLoader(notes[:2400], batch_size=48, shuffle=True, collate_fn=vocabulary.collate),
            "val_loader": DataLoader(notes[2400:], batch_size=600, collate_fn=vocabulary.collate),
            "metric": filed_rightly}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(8):
        for inputs, shelf in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](inputs), shelf)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            inputs, shelf = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](inputs), shelf).item()
        print(f"epoch {epoch}: loss {loss.item():.3f} filed rightly {score:.3f}")
    print("score:", score)
