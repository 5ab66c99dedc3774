"""The HTML page, rendered from a preflight.json alone.

Pure functions prepare views of facts and verdicts; templates make HTML of them, escaped by jinja2. Nothing is loaded
from anywhere, and all of it but search, filters and sorting works without JavaScript. A state is shown by a sign and
a word; colour only adds to them.
"""

from preflight.pages.document import Report, read
from preflight.pages.page import page, render

__all__ = ["Report", "page", "read", "render"]
