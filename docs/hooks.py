"""What MkDocs does to a page besides: a link to a file that is no page becomes that file's path."""

import re

_LINK = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)[^)]*\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Name the files of the repository instead of linking them: the site may stand anywhere."""
    return _LINK.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    label, path = link[1].strip("`"), link[2].rstrip("/")
    return f"`{path}`" if path.endswith(label.rstrip("/")) else f"{label} (`{path}`)"
