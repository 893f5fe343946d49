"""CLIP_benchmark's own functions on the made embeddings of tests/unit/evaluate/known.py; run by its interpreter.

python _clip_benchmark.py embeddings.npz
"""

import json
import sys

import numpy as np
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval


class Stub:
    """A model whose pictures and texts are numbers of stored embeddings."""

    def __init__(self, pictures: torch.Tensor, texts: torch.Tensor) -> None:
        self.pictures, self.texts = pictures, texts

    def encode_image(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.pictures[numbers]

    def encode_text(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.texts[numbers]


class Batches(list):
    """Batches with the names of the classes, as its loader has them."""

    dataset = None


def tokenizer(texts: list) -> torch.Tensor:
    return torch.tensor([int(text) for text in texts])


def main(path: str) -> None:
    made = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    numbers, names = torch.arange(len(made["pictures"])), made["names"]
    classes, templates = names.shape[:2]
    model = Stub(made["pictures"], names.reshape(classes * templates, -1))
    batches = Batches(zip(numbers.split(64), made["labels"].split(64), strict=True))
    batches.dataset = type("Dataset", (), {"classes": [str(number) for number in range(classes)]})()
    own = {str(c): [str(c * templates + t) for t in range(templates)] for c in range(classes)}
    found = zeroshot_classification.evaluate(model, batches, tokenizer, batches.dataset.classes, own, "cpu", amp=False)
    owners = made["owners"].tolist()
    captions = [[str(place) for place, owner in enumerate(owners) if owner == number] for number in numbers.tolist()]
    pairs = [(part, [captions[number] for number in part.tolist()]) for part in numbers.split(64)]
    found |= zeroshot_retrieval.evaluate(
        Stub(made["pictures"], made["captions"]), pairs, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
