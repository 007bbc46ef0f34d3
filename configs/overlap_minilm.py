"""all-MiniLM-L6-v2 (BERT, 6 blocks, d 384) on BoolQ passages: do singular vectors outside the bulk meet activations?

eigensweep-overlap --config=overlap_minilm --data=../shared/text/superglue_BoolQ_val.jsonl --workdir=runs/minilm-overlap

39,511 tokens in 384 passages; two minutes of processor time, sweep and figures included. Mean overlap (vectors):

role              above ν+      in the bulk    below ν−      random   p right   p left   p smallest tenth
query             0.238 (347)   0.169 (1957)   –             0.162    0.0005    –        0.0005 (O 0.178)
key               0.242 (307)   0.168 (1997)   –             0.162    0.0005    –        0.0005 (O 0.177)
value             0.178 (321)   0.172 (1983)   –             0.162    0.0005    –        0.0005 (O 0.190)
attention_output  0.178 (296)   0.166 (2008)   –             0.162    0.0005    –        0.0015 (O 0.170)
mlp_up            0.191 (361)   0.170 (1775)   0.253 (168)   0.162    0.0005    0.0005   0.0005 (O 0.232)
mlp_down          0.130 (403)   0.095 (1723)   0.093 (178)   0.091    0.0005    0.97     0.99 (O 0.093)
pooler            –             0.162 (384)    –             0.161    –         –        0.85 (O 0.159)

p as in overlap_gpt2_char. Above the right edge the overlap is larger in every role with outliers, but by 0.01 only in
value and attention_output. Below the left edge it is larger in mlp_up, more than above the right one: the axes met are
strong ones (median rank 54 of 384; the largest overlaps, up to 0.64, with the first), and in blocks 1 to 4 also the
very last, the direction that the layer norm before it empties. In mlp_down there is nothing below. The smallest tenth
of the square matrices, which have no left edge, overlaps a little more than the rest of the bulk, most in value. The
pooler, which the sentence model does not use, is random, and so is its overlap.
Centred covariances (--config.centred) change no mean of a role by more than 0.006.

The first eigenvalue of F is the mean's (80 to 88 % of it; of what enters MLP down 60 %). Positions carry 1 to 3 % of
the first, and 20 and 49 % of the second of what enters MLP up and down. With positions centred out
(--config.centring=positions) the first holds 7.5 to 14 % of the trace instead of 14 to 28 %, and no mean of a role
changes by more than 0.016: mlp_up below the left edge 0.241, p 0.0005.
"""

from ml_collections import ConfigDict

from eigensweep.configs import minilm


def get_config() -> ConfigDict:
    """384 passages, chosen at random, cut at 128 tokens."""
    data = {"format": "passages", "field": "passage", "length": 128, "max_rows": 384}
    return ConfigDict({"command": "overlap", "checkpoint": minilm.get_config().checkpoint, **data})
