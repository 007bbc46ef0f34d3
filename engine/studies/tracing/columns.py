"""The columns of traces."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, TEXTS, Column

SOURCE = "Millidge & Black 2022"
_DIRECTION = {
    "direction": Column(TEXT, "", "address of the direction: block and head from 0, index from 1"),
    "block": Column(COUNT, "", "its block, from 0"),
    "head": Column(COUNT, "", "its head, from 0; null for the MLP's"),
    "kind": Column(TEXT, "", "its circuit: ov, qk, q, k, mlp_in, mlp_gate, mlp_out"),
    "index": Column(COUNT, "", "its index, from 1, by descending singular value"),
    "side": Column(TEXT, "", "which vector of the pair: written, read, query (by the query token), key"),
    "sign": Column(
        COUNT, "", "1: the end at which the score of largest size lies; -1: the other end. One for both sides of a pair"
    ),
    "s": Column(FLOAT, "[w]^2 or [w]", "its singular value, norms folded in"),
}
HITS = {
    "query": Column(TEXT, "", "the query as given"),
    "query_tokens": Column(TEXTS, "", "its tokens"),
    **_DIRECTION,
    "cosine": Column(
        FLOAT, "", "cosine of q and the direction turned to `sign`; q = mean of pinv(U) e_t, or of E_t", SOURCE
    ),
    "tokens": Column(TEXTS, "", "the tokens of highest score at that end: U diag(g) u of written, E v of read sides"),
    "scores": Column(LIST, "[w]", "their scores"),
}
LOOP = {
    **_DIRECTION,
    "sign": Column(COUNT, "", "the end whose tokens are the query, of the vector as it was decomposed"),
    "cosine": Column(FLOAT, "", "cosine of the direction and the query made of its own highest tokens", SOURCE),
    "rank": Column(COUNT, "", "1 + the number of directions, at either sign, with a larger cosine to that query"),
    "random_cosine": Column(FLOAT, "", "`cosine` of a random direction down the same path"),
    "random_rank": Column(COUNT, "", "`rank` of that random direction among the model's"),
}
