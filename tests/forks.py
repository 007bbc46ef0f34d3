"""Starts entry points as forks of one process that has imported what they need: in milliseconds, not in seconds.

Reads requests as lines of JSON, answers each with one line:
  {"name": "sweep", "arguments": [...], "cwd": "...", "output": "..."}  ->  the process id; OUTPUT.out and OUTPUT.err
  {"poll": PID}  ->  its exit status, or null while it runs

No backend of JAX is started here, and no module of eigensweep.bin imported: their flags are a process's own.
"""

import gc
import importlib
import json
import os
import sys
import traceback

for name in (
    "eigensweep.engine.studies.ablation.study",
    "eigensweep.engine.studies.finetune.study",
    "eigensweep.engine.studies.overlap.study",
    "pandas",
):
    importlib.import_module(name)
for name in ("AutoConfig", "AutoTokenizer", "PreTrainedTokenizerFast"):  # they are imported when they are asked for
    getattr(importlib.import_module("transformers"), name)

importlib.import_module("eigensweep.engine.report.style").RC["pdf.fonttype"] = 3  # as in plain_fonts.py
importlib.import_module("eigensweep.engine.report.write").LEAST_SHARE = 1000  # each draws its figures itself


def become(request):
    """What a shell would do between fork and exec."""
    os.chdir(request["cwd"])
    for descriptor, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["output"] + ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, request["output"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, mode, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = [f"eigensweep-{request['name']}", *request["arguments"]]
    status = 0
    try:
        importlib.import_module(f"eigensweep.bin.{request['name']}").run()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking all imported modules down takes longer than a refusal


gc.collect()
gc.freeze()  # the forks share what is imported
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    if "poll" in request:
        pid, status = os.waitpid(request["poll"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if not answer:
            become(request)
    print(json.dumps(answer), flush=True)
