"""Entry points and whatever listens to them: full disks, closed pipes, ASCII terminals, Ctrl-C while they import."""

import os
import subprocess
import sys

import pytest

MAIN = [sys.executable, "-m", "eigensweep.bin.main"]
FULL = "error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("command", ["--help", "convert"])
def test_a_full_disk_behind_standard_output(command):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MAIN, command, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, FULL)


def test_a_reader_that_goes_away():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*MAIN, "--help"], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nothing_that_listens():
    """Standard output closed, and standard error full."""
    script = f"exec {sys.executable} -c 'from eigensweep.bin.runner import _fail; _fail(1)'"
    assert subprocess.run(f"{script} >&-", shell=True, capture_output=True, check=False).returncode == 2
    assert subprocess.run(f"{script} 2>/dev/full", shell=True, capture_output=True, check=False).returncode == 2


def test_an_ascii_terminal():
    code = "from eigensweep.bin.output import heard\nwith heard():\n    print('64 × 32 → 1–2 … ñ \\U0001f600')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "64 x 32 -> 1-2 ... \\xf1 \\U0001f600\n"


def test_an_error_line_has_no_escape_codes_and_an_end():
    code = "from eigensweep.bin.runner import _fail\n_fail('\x1b[31m/x\ny ' + 'z ' * 10**6)"
    done = subprocess.run([sys.executable, "-c", code.replace("\x1b", r"\x1b").replace("/x\ny", r"/x\ny")],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: \\x1b[31m/x y z z ")
    assert len(done.stderr) < 4000
    assert done.stderr.count("\n") == 1


def test_ctrl_c_while_importing():
    code = "import eigensweep.bin, os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-2, "interrupted\n")
