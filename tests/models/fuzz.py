"""Checkpoints broken at random, read as a sweep reads them: python fuzz.py FIRST_SEED COUNT FOLDER [FOLDER ...]

Prints a line of JSON for every case that ended otherwise than in a table or a one-line CheckpointError, and the counts.
Every case has its own seed; memory is limited for all of them, time for each.
"""

import contextlib
import importlib
import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from eigensweep.models import CheckpointError, open_checkpoint

SECONDS, MEMORY = 5, 1 << 30
PIECES = [
    "",
    ".",
    "\0",
    "\n",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "9" * 30,
    "9" * 4400,
    "a" * 300,
    "x[0]",
    ":query",
    "/",
    "..",
    "é",
    "٣",
    "0",
]
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**12, 10**30, 0.5, -0.0, float("nan"), float("inf"),
    "", "x", "\ud800", "9" * 30, [], {}, [[]], [None], [0, 10**30], [10**12, 0, 5], [1] * 70, [-1, 4], [True, 4],
    [0.0], {"x": {"y": []}},
    "F4", "F6_E2M3", "F8_E8M0", "F8_E4M3", "BF16", "F64", "U8", "BOOL", "C64", "LORA", "llama", "gpt2", "bert",
    "mixtral", "gpt_neox", "t5", "deepseek_v3", "gptq", "awq", "mxfp4", "bitsandbytes", "../x", "/etc/passwd",
    "a" * 256, "model.safetensors", ["LlamaForCausalLM"], [7],
    {"factor": "x"},
    "(.*)*x", "(a+)+b", "a{99999999999}", "(" * 500 + ")" * 500, "[", "(?=x)", "\\", "q_proj|k_proj",
]  # fmt: skip
TEXTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe{}",
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"9" * 5000,
    b'{"a": 1e999}',
]
FILES = [
    "config.json", "model.safetensors", "model.safetensors.index.json", "adapter_config.json",
    "adapter_model.safetensors", "adapter_model.bin", "pytorch_model.bin", "pytorch_model.bin.index.json",
    "eigensweep.json", "x.safetensors",
]  # fmt: skip


def nodes(value, found):
    """Every place in a JSON tree: (container, key)."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            nodes(value[key], found)
    return found


def mutate_tree(rng, tree):
    """Changes one place of a JSON tree."""
    if not (places := nodes(tree, [])):
        return
    container, key = rng.choice(places)
    kind = rng.randrange(6)
    value = container[key]
    if kind == 0 and isinstance(container, dict):
        del container[key]
    elif kind == 1 and isinstance(container, dict) and isinstance(key, str):
        at = rng.randrange(len(key) + 1)
        container[key[:at] + rng.choice(PIECES) + key[at + rng.randrange(3) :]] = container.pop(key)
    elif kind == 2 and type(value) in (int, float):
        container[key] = rng.choice(
            [value + 1, value - 1, -value, value * 2, value // 2 if type(value) is int else value]
        )
    elif kind == 3:
        other, its = rng.choice(places)
        container[key] = json.loads(json.dumps(other[its]))
    else:
        container[key] = rng.choice(VALUES)


def dump(rng, tree):
    """JSON with the numbers and doubles that only hostile writers write."""
    text = json.dumps(tree).encode()
    if rng.random() < 0.05:
        text = text.replace(b": ", b": " + b"1" * 400 + b', "k": ', 1)
    if rng.random() < 0.05 and b"{" in text:
        text = text.replace(b"{", text[text.index(b"{") : text.index(b"{") + 40].split(b",")[0] + b",", 1)
    return (b"\xef\xbb\xbf" if rng.random() < 0.03 else b"") + text


def mutate_json(rng, text):
    if rng.random() < 0.1:
        return rng.choice(TEXTS)
    try:
        tree = json.loads(text)
        if isinstance(tree, dict | list):
            for _ in range(rng.choice([1, 1, 2, 4])):
                mutate_tree(rng, tree)
        return dump(rng, tree)
    except (ValueError, RecursionError):  # broken enough already
        return text


def mutate_safetensors(rng, data):
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(rng, data[8 : 8 + length])
    said = len(header) if rng.random() < 0.95 else rng.choice([0, 1, len(header) + 1, 2**20, 2**63, 2**64 - 1])
    return struct.pack("<Q", said) + header + data[8 + length :]


def mutate_bytes(rng, data):
    if not data:
        return data
    data = bytearray(data)
    near = rng.choice([len(data), min(len(data), 600)])
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        for _ in range(rng.choice([1, 1, 3, 30])):
            data[rng.randrange(near)] ^= 1 << rng.randrange(8)
        return bytes(data)
    begin = rng.randrange(near)
    end = begin + rng.choice([1, 4, 8, 100])
    if kind == 2:
        del data[begin:end]
    elif kind == 3:
        data[begin:begin] = data[begin:end]
    else:
        data[-rng.randrange(1, min(len(data), 200) + 1) :] = rng.randbytes(rng.randrange(100))
    return bytes(data)


def special(rng, path, outside):
    """Something else than a file under a file's name."""
    path.unlink(missing_ok=True)
    kind = rng.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to("/nowhere/at all")
    elif kind == 3:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/null", "/dev/full", path.name, outside]))
    # else it is gone


def broken(rng, files, folder):
    """Writes a checkpoint's files into a folder, with one to three of them changed."""
    files = dict(files)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = rng.choice(sorted(files))
        kind = rng.random()
        if kind < 0.2:
            files[name] = mutate_bytes(rng, files[name])
        elif name.endswith(".json"):
            files[name] = mutate_json(rng, files[name])
        elif name.endswith(".safetensors"):
            files[name] = mutate_safetensors(rng, files[name])
        else:
            files[name] = mutate_bytes(rng, files[name])
    if rng.random() < 0.05:
        files[rng.choice(FILES)] = files[rng.choice(sorted(files))]
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if rng.random() < 0.04:
        special(rng, folder / rng.choice([*FILES, *files]), __file__)


def read(folder):
    """Open, plan and read, as a sweep does; asserts what every table relies on."""
    checkpoint = open_checkpoint(next(folder.glob("*.gguf"), folder))
    names = [matrix.name for matrix in checkpoint.matrices]
    assert len(set(names)) == len(names), "two matrices have the same name"
    skipped = {entry.name for entry in checkpoint.skipped}
    for text in (
        *names,
        *skipped,
        *checkpoint.warnings,
        checkpoint.architecture,
        *(m.file for m in checkpoint.matrices),
    ):
        assert text.isprintable(), f"not printable: {text!r}"
        text.encode()
    if checkpoint.source.kind not in ("lora", "orbax"):
        taken = skipped | {cut.tensor.name for cut in checkpoint.plan.cuts.values()}
        assert checkpoint.matrices or skipped, "nothing, and not a word"
        lost = checkpoint.source.tensors.keys() - taken
        vectors = {leaf.tensor.name for leaf in checkpoint.leaves if leaf.cut and leaf.cut.layout == "vector"}
        assert not lost - vectors, f"neither taken nor left out: {sorted(lost - vectors)[:3]}"
    for matrix in checkpoint.matrices:
        assert matrix.block is None or -1 < matrix.block < 2**63
        assert matrix.expert is None or -1 < matrix.expert < 2**63
        if matrix.shape[0] * matrix.shape[1] < 1e6:
            assert matrix.read().shape == matrix.shape
    json.dumps(checkpoint.identity, allow_nan=False)
    for leaf in checkpoint.leaves:
        assert leaf.nbytes >= 0


def timed_out(*_):
    raise TimeoutError(f"more than {SECONDS} s")


def outcome(folder):
    """ "table", "refused", or what went wrong."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(folder)
        return "table", ""
    except CheckpointError as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        message = str(error)
        names = [folder.name, *(path.name for path in folder.iterdir())]
        if not message.isprintable() or len(message) > 3000 or "weights_only=False" in message:
            return "bad message", message[:500]
        return ("refused", "") if any(name in message for name in names) else ("names no file", message[:500])
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        frames = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)][
            -4:
        ]
        return type(error).__name__, f"{str(error)[:300]} @ {' < '.join(reversed(frames))}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def limit_memory():
    """Address space beyond what is there already: whatever a case takes beyond it is a MemoryError."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))


def main():
    first, count, *folders = sys.argv[1:]
    bases = [{p.name: p.read_bytes() for p in sorted(Path(f).iterdir()) if p.is_file()} for f in folders]
    warnings.simplefilter("ignore")
    with contextlib.suppress(ImportError):  # now, and not within a case's seconds
        importlib.import_module("torch")
    for folder in folders:  # before memory counts: whatever is imported on the way
        read(Path(folder))
    limit_memory()
    signal.signal(signal.SIGALRM, timed_out)
    counts = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(int(first), int(first) + int(count)):
            rng, folder = random.Random(seed), Path(temporary) / f"case{seed}"
            folder.mkdir()
            broken(rng, bases[seed % len(bases)], folder)
            kind, what = outcome(folder)
            counts[kind] = counts.get(kind, 0) + 1
            if kind not in ("table", "refused"):
                print(
                    json.dumps({"seed": seed, "base": folders[seed % len(bases)], "kind": kind, "what": what}),
                    flush=True,
                )
            for path in folder.iterdir():
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            folder.rmdir()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
