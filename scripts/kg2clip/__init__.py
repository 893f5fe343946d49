"""kg2clip: from a knowledge graph to a CLIP model, one package a stage.

The stages read each other's files, never each other's code. What they share lives beside this file:
errors, files (atomic writes, locks), tables (the columns of every table), identifiers, settings (the config),
web (names, guards and limits of HTTP), progress, provenance.
"""
