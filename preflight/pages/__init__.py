"""What the HTML page shows above its table of results: verdict, root causes, and pictures of what was measured.

Pure functions from facts and verdicts to HTML. Every text from outside is escaped where it enters HTML; nothing is
loaded from anywhere, and there is no script. A state is told by a sign and a word, and by colour only beside them.
"""

from preflight.pages.page import top

__all__ = ["top"]
