"""What C code prints does not get among results."""

import subprocess
import sys

CODE = """
import ctypes
from nastk.core.stdout import prints_to_stderr
print("before")
with prints_to_stderr():
    ctypes.CDLL(None).puts(b"trouble")
    print("trouble of Python's")
print("after")
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_c_prints_to_standard_error():
    done = run(CODE)
    assert done.stdout == "before\nafter\n" and done.returncode == 0
    assert done.stderr == "trouble\ntrouble of Python's\n"


def test_a_closed_standard_output_is_no_trouble():
    done = run("import os; os.close(1)\n" + CODE.replace('print("', 'str("'))
    assert done.returncode == 0 and done.stdout == "", done.stderr
