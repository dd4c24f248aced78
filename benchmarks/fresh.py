"""Measurements in fresh Python processes: no cache and no thread of one side helps or hinders the other."""

import json
import os
import subprocess
import sys
from typing import Any


def run_fresh(python: str, code: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run code in a process of its own and return the JSON object of its last line of output.

    Args:
        python: The interpreter.
        code: What it runs; `sys.argv[1:]` are the arguments.
        arguments: Its arguments.
        environment: Variables set on top of those of this process.

    Raises:
        SystemExit: The code failed; the message is the end of what it said.
    """
    command = [python, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
