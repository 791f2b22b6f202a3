"""Character language model (embedding, two-layer LSTM) on made-up recipe lines; mistake: the target window is the input window itself and not the one a character later, the model learns to copy, the loss goes to 0 and generated text is nonsense; change: target starts at i + 1."""
import sys
import random
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VERBS = ["stir", "chop", "boil", "whisk", "fold", "roast"]
THINGS = ["onions", "butter", "lentils", "flour", "carrots", "cream", "apples"]
TIMES = ["briefly", "for ten minutes", "until golden", "overnight"]


def recipe_text(n, seed):
    rnd = random.Random(seed)
    return " ".join(f"{rnd.choice(VERBS)} the {rnd.choice(THINGS)} {rnd.choice(TIMES)}." for _ in range(n))


vocab = sorted(set(recipe_text(200, 0)))
encode = {c: i for i, c in enumerate(vocab)}
SEQ_LEN = 50


def windows(text, offset):
    ids = torch.tensor([encode[c] for c in text])
    xs, ys = [], []
    for i in range(0, len(ids) - SEQ_LEN - 1, 25):
        xs.append(ids[i:i + SEQ_LEN])
        ys.append(ids[i + offset:i + offset + SEQ_LEN])
    return TensorDataset(torch.stack(xs), torch.stack(ys))


class CharModel(nn.Module):
    def __init__(self, n_vocab, emb=32, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(n_vocab, emb)
        self.lstm = nn.LSTM(emb, hidden, num_layers=2, batch_first=True)
        self.out = nn.Linear(hidden, n_vocab)

    def forward(self, x):
        h, _ = self.lstm(self.emb(x))
        return self.out(h)


def sequence_loss(logits, y):
    return nn.functional.cross_entropy(logits.transpose(1, 2), y)


def parts(variant):
    torch.manual_seed(0)
    offset = 0 if variant == "bad" else 1
    model = CharModel(len(vocab))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": sequence_loss,
        "train_loader": DataLoader(windows(recipe_text(1200, 1), offset), batch_size=32, shuffle=True),
        "val_loader": DataLoader(windows(recipe_text(150, 2), offset), batch_size=32),
    }


@torch.no_grad()
def known_words(model, length=600):
    model.eval()
    ids = [encode[c] for c in "stir the "]
    for _ in range(length):
        logits = model(torch.tensor([ids[-60:]]))[0, -1]
        ids.append(torch.multinomial(logits.softmax(0), 1).item())
    words = "".join(vocab[i] for i in ids).replace(".", " ").split()[2:-1]
    good = set(" ".join(VERBS + THINGS + TIMES + ["the"]).split())
    return sum(w in good for w in words) / max(len(words), 5)


WORKS = lambda score: score > 0.7   # share of the words of a generated text that are words

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1}: {total / len(p['train_loader'].dataset):.4f}")
    score = known_words(model)
    print(f"score: {score:.4f}")
