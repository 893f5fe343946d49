"""Evaluation: benchmarks on disk, zero-shot predictions, and the scores that are rebuilt from stored predictions."""

import kg2clip.device  # noqa: F401  (keeps open_clip offline: must be read before it)
