"""What a trace found, as text of at most 100 columns."""

import numpy as np

from eigensweep.engine.studies.tracing.study import Trace

_WIDTH = 100
_HEAD = f"{'direction':<25} {'side':<8} {'sign':>4} {'cosine':>7}  tokens at that end"


def render(trace: Trace) -> str:
    """A table a query, and the closed loop's quantiles."""
    manifest, hits = trace.manifest, trace.hits.to_pylist()
    parts = [
        _query(query, [hit for hit in hits if hit["query"] == query["query"]], manifest["threshold"])
        for query in manifest["queries"]
    ]
    if hits:
        parts.append(
            "sign -: an antipode, the query lies at the end whose scores are the smaller ones; the two sides of\n"
            "a pair have one sign, and the tokens are those of the end that was hit"
        )
    if trace.loop is not None:
        parts.append(_loop(trace))
    return "\n\n".join(parts)


def _query(query: dict, hits: list[dict], limit: float) -> str:
    said = ", ".join(token.strip() or repr(token) for token in query["tokens"])
    head = _cut(f"{query['query']} ({len(query['tokens'])} tokens: {said})")
    num = query["hits"]
    shown = f", the {len(hits)} nearest" if num > len(hits) else ""
    lines = [head, f"{num} of the model's directions beyond |cosine| {limit:.3f}{shown}"]
    if hits:
        lines.append(_HEAD)
    for hit in hits:
        sign = "+" if hit["sign"] > 0 else "-"
        left = f"{hit['direction']:<25} {hit['side']:<8} {sign:>4} {hit['cosine']:>7.3f}  "
        lines.append(_cut(left + " ".join(token.strip() or repr(token) for token in hit["tokens"])))
    return "\n".join(lines)


def _loop(trace: Trace) -> str:
    """Of every kind and side: cosine and rank of directions, and of random ones."""
    assert trace.loop is not None
    frame = trace.loop.to_pandas()
    size = trace.manifest["options"]["loop_tokens"]
    lines = [
        f"closed loop: {len(frame)} directions traced by their own {size} top tokens; beside each a random vector",
        f"{'kind':<9} {'side':<8} {'n':>5}  {'cosine: median (10 to 90 %)':<29} {'random':>7}  {'first':>6} "
        f"{'rank: median':>12} {'random':>9}",
    ]
    groups: list[tuple] = [(*key, group) for key, group in frame.groupby(["kind", "side"], sort=False)]
    for kind, side, group in [*groups, ("all", "", frame)]:
        low, mid, high = np.quantile(group["cosine"], (0.1, 0.5, 0.9))
        first = np.mean(group["rank"] == 1)
        lines.append(
            f"{kind:<9} {side:<8} {len(group):>5}  {f'{mid:.3f} ({low:.3f} to {high:.3f})':<29} "
            f"{group['random_cosine'].median():>7.3f}  {first:>6.1%} {group['rank'].median():>12.0f} "
            f"{group['random_rank'].median():>9.0f}"
        )
    return "\n".join(lines)


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 2]} …"
