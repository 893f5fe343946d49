"""Variables that torch and open_clip read when they are imported: import this before them. It imports neither."""

from __future__ import annotations

import os

# Keeps open_clip off the internet; read when huggingface_hub is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when torch loads OpenMP. Threads that wait for each other give their core away instead of spinning: on two cores
# with two busy neighbours a training step of the demo was five times faster so (120 pictures a second against 23).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
