"""Stage `queries`: entities in, search queries out: names, and attributes before names (EntityNet's noun and
attribute-noun).
"""
