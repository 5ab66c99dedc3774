"""What pytest loads where the package is installed: the suite's plugin and the lab's, which configures first.

In a clone conftest.py names the same plugins, and pytest loads each once.
"""

pytest_plugins = ("preflight.plugin", "lab.plugin")
