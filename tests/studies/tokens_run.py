"""A finished tokens run made by hand: small, its tokens known words, some of them hostile."""

import numpy as np

from eigensweep.engine.studies.tokens.tables import LAYOUT
from eigensweep.engine.tables.check import SUMS, file_sum
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import table_bytes, write_bytes, write_json

FRUIT = ["apple", "pear", "plum", "cherry", "quince", "fig", "grape", "lemon"]
METAL = ["iron", "zinc", "copper", "lead", "tin", "gold", "nickel", "silver"]
HOSTILE = [
    "</script><img src=x onerror=\"document.title='had'\">", "\x1b[31mred\x07", " fire", "", "\n\u2028", "=1+1",
    "\u202eלום", "long" * 60,
]  # fmt: skip
WORDS = [*FRUIT, *METAL, *HOSTILE, *(f"word{i}" for i in range(76))]
LISTS = {("block.0.head.0.ov", 1, "written", 1): FRUIT, ("block.1.mlp_out", 2, "written", -1): METAL}


def circuits(blocks=2, heads=3):
    """Address, block, head, kind and sides of every circuit."""
    for block in range(blocks):
        for head in range(heads):
            for kind, sides in (("ov", ("written", "read")), ("qk", ("query", "key"))):
                yield f"block.{block}.head.{head}.{kind}", block, head, kind, sides
        yield f"block.{block}.mlp_out", block, None, "mlp_out", ("written",)


def make_tokens(directory, directions=4, length=8, blocks=2, heads=3, texts=True):
    """Write the run; the hostile words are the list block.1.head.2.qk:3, query, sign 1."""
    rng = np.random.default_rng(0)
    chosen = {**LISTS, ("block.1.head.2.qk", 3, "query", 1): HOSTILE}
    rows, of_circuits = [], []
    for name, block, head, kind, sides in circuits(blocks, heads):
        about = {"circuit": name, "block": block, "head": head, "kind": kind}
        s = np.sort(rng.random(directions) + 0.1)[::-1]
        of_circuits.append(about | {
            "m": 16, "n": 16, "rank": directions, "singular_values": s, "stable_rank": float((s**2).sum() / s[0] ** 2),
            "num_right_beyond_signs": block + (head or 0), "num_groups": directions,
        })  # fmt: skip
        for side in sides:
            for index in range(1, directions + 1):
                for sign in (1, -1):
                    words = chosen.get((name, index, side, sign), [])[:length]
                    ids = [WORDS.index(word) for word in words]
                    ids += (24 + rng.choice(len(WORDS) - 24, length - len(ids), replace=False)).tolist()
                    rows.append(about | {
                        "index": index, "side": side, "sign": sign, "end": "first", "projection": "embedding",
                        "s": s[index - 1], "gap": 0.1, "least_gap": 0.05, "group": index - (index == 2),
                        "group_size": 2 if index < 3 else 1, "token_ids": ids,
                        "tokens": [WORDS[i] for i in ids] if texts else None,
                        "scores": np.sort(rng.random(length))[::-1] + 0.2, "coherence": rng.random(),
                        "p_coherence": 0.001 if words else 0.5, "rejected": bool(words),
                    })  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    sums = {}
    found = {"circuits": of_circuits, "directions": rows}
    for table in LAYOUT.tables:
        data = table_bytes(to_table(LAYOUT.tables[table], found.get(table, [])))
        write_bytes(directory / f"{table}.parquet", data)
        sums[f"{table}.parquet"] = file_sum(data)
    write_json(directory / "tokens.json", {
        "eigensweep": "0.4.0", "study": "tokens", "status": "done", "joins": [], "timings": {}, SUMS: sums,
        "checkpoint": {"source": "made", "kind": "dict", "architecture": "gpt2", "files": {}, "sha256": "0" * 64},
        "options": {}, "projections": {}, "vocab_size": len(WORDS),
    })  # fmt: skip
    return directory
