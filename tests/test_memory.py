"""What images took is given back."""

import subprocess
import sys

import pytest

SESSION = """
import sys, threading
import numpy as np
from mien.memory import give_back, keep_little

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

def work(number):
    kept = []
    for turn in range(6):
        large = [np.full(size << 20, 1, np.uint8) for size in (3, 9, 20)]
        small = [b"x" * 60_000 for _ in range(500)]
        del large
        kept.append(b"y" * 1000)  # lies above what is freed next
        del small
    pins.append(kept)

pins = []
if "frugal" in sys.argv:
    keep_little()
before = resident_mb()
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if "frugal" in sys.argv:
    give_back()
print(resident_mb() - before)
"""


def grown_mb(*arguments):
    command = [sys.executable, "-c", SESSION, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_memory_comes_back_after_a_session_of_images():
    assert grown_mb("frugal") < 20 < grown_mb()
