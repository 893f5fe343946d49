"""kg2clip: from a knowledge graph to a CLIP model, one package a stage.

The stages read each other's files, never each other's code. What they share lives beside this file:
errors, files (atomic writes, locks), tables (the columns of every table), identifiers, settings (the config),
web (names, guards and limits of HTTP), progress, provenance.
"""

import sys
from importlib.util import find_spec
from types import TracebackType

PYTHON = ((3, 11), (3, 13))  # from, up to; img2dataset imports a module that 3.13 dropped

# Said here, since nothing below could be imported to say it.
_ADVICE = "Type: source .venv/bin/activate (made by: make demo), or activate your conda environment"
if sys.version_info < PYTHON[0]:
    sys.exit(f"error: this is Python {sys.version.split()[0]}; kg2clip needs 3.11 or 3.12. {_ADVICE}")
if not all(map(find_spec, ("yaml", "jsonschema"))):
    sys.exit(f"error: the packages of kg2clip are not installed for {sys.executable}. {_ADVICE}")


def _tell_what_is_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A sentence instead of a traceback for a stage's package that this Python has not, as where conda has them."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith(__name__):
        stages = "With conda, a program needs its stage's environment (envs/; predict.py: envs/train.yaml)"
        print(f"error: {sys.executable} has no package {error.name}. {_ADVICE}. {stages}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _tell_what_is_missing
