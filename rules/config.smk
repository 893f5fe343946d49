# The config. We look into its files before Snakemake does, which takes the second of two equal keys without a word, and says
# neither in which file nor in which line a mistake stands.

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from kg2clip import settings as checked
from kg2clip.errors import UserError

DEFAULT_CONFIG = "config/config.yaml"

try:
    for path in filter(os.path.exists, [*workflow.configfiles, DEFAULT_CONFIG]):
        checked.read_yaml(Path(path))
except UserError as error:
    sys.exit(f"error: {error}")


configfile: DEFAULT_CONFIG
