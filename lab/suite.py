"""What pytest loads where the suite is installed: its plugin and the lab's, which is the first to configure.

In a clone conftest.py names the same plugins, and pytest loads each once.
"""

pytest_plugins = ("preflight.plugin", "lab.plugin")
