"""Which aisle a shopper goes to next, from the articles in the basket, a transformer; mistake: the article numbers (1 to 1,500) go as floats through nn.Linear(1, width); change: nn.Embedding."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ARTICLES, HABITS, BASKET = 1500, 9, 10


def baskets(n, seed):
    """A shopper has one of nine habits; a habit prefers some articles, spread over the whole catalogue, and leads to one aisle."""
    habit_of = torch.randint(0, HABITS, (ARTICLES,), generator=torch.Generator().manual_seed(11))
    shelves = [torch.where(habit_of == h)[0] for h in range(HABITS)]
    g = torch.Generator().manual_seed(seed)
    habit = torch.randint(0, HABITS, (n,), generator=g)
    x = torch.randint(0, ARTICLES, (n, BASKET), generator=g)
    own = torch.rand(n, BASKET, generator=g) < 0.55
    for h in range(HABITS):
        liked = shelves[h][torch.randint(0, len(shelves[h]), (n, BASKET), generator=g)]
        x = torch.where(own & (habit == h).unsqueeze(1), liked, x)
    return x + 1, habit


class BasketTransformer(nn.Module):
    def __init__(self, embed, width=48):
        super().__init__()
        self.embed = nn.Embedding(ARTICLES + 1, width) if embed else nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.aisle = nn.Linear(width, HABITS)

    def forward(self, articles):
        if isinstance(self.embed, nn.Linear):
            articles = articles.float().unsqueeze(-1)
        return self.aisle(self.encoder(self.embed(articles)).mean(1))


def parts(variant):
    torch.manual_seed(0)
    model = BasketTransformer(embed=variant != "bad")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*baskets(8000, 1)), batch_size=64, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*baskets(1000, 2)), batch_size=500),
        "metric": lambda out, y: (out.argmax(-1) == y).float().mean(),
    }


def run_epoch(model, loader, loss_fn, optimizer=None):
    """One pass; trains where an optimizer is given. Returns mean loss and accuracy."""
    model.train(optimizer is not None)
    losses, right, seen = 0.0, 0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in loader:
            out = model(x)
            loss = loss_fn(out, y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses += loss.item() * len(y)
            right += (out.argmax(1) == y).sum().item()
            seen += len(y)
    return losses / seen, right / seen


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        loss, acc = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        val_loss, val_acc = run_epoch(p["model"], p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch + 1}: train {loss:.3f} / {acc:.3f}, val {val_loss:.3f} / {val_acc:.3f}")
    print(f"score: {val_acc:.4f}")
