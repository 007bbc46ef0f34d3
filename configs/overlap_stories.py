"""A Llama of 260,000 parameters (5 blocks, d 64) on stories that it writes itself: its training text is not at hand.

eigensweep-overlap --config=overlap_stories --checkpoint=../shared/checkpoints/llama-stories260k --workdir=runs/stories

8,192 tokens sampled at temperature 1 from the start token, 1.1974 nats/token; 35 s of processor time. Mean overlap:

role              above ν+     in the bulk   below ν−     random   p right   p left   axes met (median rank, of n)
query             0.368 (68)   0.333 (252)   –            0.326    0.0005    –        46
key               0.441 (28)   0.339 (113)   0.344 (19)   0.326    0.0005    0.32     12 above, 34 below
value             0.346 (4)    0.335 (152)   0.318 (4)    0.326    0.37      0.70     58 above, 18 below
attention_output  0.353 (19)   0.338 (301)   –            0.326    0.06      –        29
mlp_gate          0.363 (28)   0.328 (288)   0.321 (4)    0.326    0.0020    0.56     8 above, 40 below
mlp_up            0.380 (19)   0.331 (297)   0.309 (4)    0.326    0.0015    0.80     15 above, 23 below
mlp_down          0.302 (31)   0.248 (280)   0.233 (9)    0.223    0.0005    0.78     159 above, 81 below

p as in overlap_gpt2_char. Above the right edge the overlap is larger in five of seven roles; value and attention_output
show nothing that noise would not. Below the left edge there is nothing, in 40 vectors. On Tiny Shakespeare, which the
model does not know (--config.format=text --config.max_rows=512 --data=…: 65,536 tokens, 4.8347 nats/token), the same
five roles stand out, mlp_up weakly (p 0.03), and again nothing does below.

The first eigenvalue of F is the mean's (of the inputs of query, key, value and MLP up 92 to 94 % of it), of what enters
attention output 52 % the mean's and 28 % the positions'. With positions centred out (--config.centring=positions) it
holds 8 to 11 % of the trace there, instead of 15 to 25 %; the same five roles stand out above the right edge.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """64 rows of 128 tokens, each from the start token."""
    return ConfigDict({"command": "overlap", "format": "sampled", "length": 128, "max_rows": 64})
