"""Runs a module as `python -m` does, with fonts as drawings in PDF files: embedding them takes half of a report's time.

python plain_fonts.py MODULE ARGUMENTS
"""

import runpy
import sys

from eigensweep.engine.report import style

style.RC["pdf.fonttype"] = 3
del sys.argv[0]
del sys.path[0]  # the folder of tests
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
