"""The report: one HTML page that shows a run to people who were not there. Every number comes from the stored tables.

`results` opens the tables; `funnel`, `coverage`, `texts`, `accuracy`, `truth` and `history` compute from them;
`pictures` and `galleries` choose and shrink pictures; `charts` draws; `notices` warns; `page` puts all into the
templates, through `filters` that keep texts from outside harmless.
"""
