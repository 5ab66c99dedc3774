"""Run a command, and write what it took: ``measured.py FILE COMMAND…``.

A process of its own, for a kernel counts what whoever started a process held as memory of that, too (``ru_maxrss`` in
getrusage(2) outlives execve), and a lab of a thousand nodes holds more than the run that is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    file, *command = sys.argv[1:]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, ended, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(ended)
    figures = {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
        "status": process.returncode,
    }
    Path(file).write_text(json.dumps(figures), encoding="utf-8")
