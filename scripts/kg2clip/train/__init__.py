"""Training: recipes, the loader, the loss, checkpoints, the loop, and the export as an open_clip model folder.

The models and the tokenizer are open_clip's; the loop and the loader are ours, because the stock ones lose samples,
have no seed for their order and can't resume inside an epoch (design 6.8, reference/training.md 1).
"""

import kg2clip.torch_environment  # noqa: F401  (before torch and open_clip)
