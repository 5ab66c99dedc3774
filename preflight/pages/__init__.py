"""The top of the HTML page, above its table of results: verdict, root causes, and charts of what was measured.

Pure functions from facts and verdicts to HTML. Every text from outside is escaped where it enters HTML; nothing is
loaded from anywhere, and there is no script. A state is shown by a sign and a word; colour only adds to them.
"""

from preflight.pages.page import top

__all__ = ["top"]
