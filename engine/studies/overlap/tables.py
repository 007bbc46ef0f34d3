"""The tables of an overlap study."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, LIST, TEXT, Column
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.matrices import IDENTITY, MATRICES

NAME = "overlap"
_SOURCE = "Staats, Thamm & Rosenow 2024"
_TAP = Column(TEXT, "", "the linear layer whose input x is; layers that read the same x share one")
_TOKENS = Column(COUNT, "", "vectors x in the mean: tokens; rows where a head reads one vector a row")
_AXES = Column(COUNT, "", "r: eigenvectors that the data determine, evals_j > d eps evals_1")
OF_MATRIX = tuple(key for key in IDENTITY if key not in ("dtype", "quantised"))

OVERLAP = {
    **{key: MATRICES[key] for key in OF_MATRIX},
    "tap": _TAP,
    "num_tokens": _TOKENS,
    "num_axes": _AXES,
    "num_overlap_right": Column(COUNT, "", "#{s_k > nu_plus}, nu_plus of the sweep"),
    "num_overlap_left": Column(COUNT, "", "#{s_k < nu_minus}, nu_minus of the sweep"),
    "overlap_right": Column(FLOAT, "", "mean of O_k over s_k > nu_plus; NaN where there are none", _SOURCE),
    "overlap_inside": Column(FLOAT, "", "mean of O_k over nu_minus <= s_k <= nu_plus", _SOURCE),
    "overlap_left": Column(FLOAT, "", "mean of O_k over s_k < nu_minus", _SOURCE),
    "overlap_null": Column(FLOAT, "", "mean of O for a random rotation of the input space"),
    "overlap_null_99": Column(FLOAT, "", "99 % quantile of O for a random rotation"),
    "overlap": Column(
        LIST, "", "O_k = max_j |v_k . f_j|, j <= r; NaN beyond hard_rank, left out of the means", _SOURCE
    ),
    "overlap_partner": Column(INDICES, "", "the j that attains O_k, 0 for the largest eigenvalue"),
    "p_overlap": Column(LIST, "", "P(O >= O_k) for a random rotation"),
}
COVARIANCES = {
    "tap": _TAP,
    "block": MATRICES["block"],
    "d": Column(COUNT, "", "entries of x"),
    "num_tokens": _TOKENS,
    "num_axes": _AXES,
    "evals": Column(
        LIST,
        "[x]^2",
        "all eigenvalues of F = mean x x^T over the tokens (centring: about their mean, or that of their position), "
        "descending",
    ),
    "mean_share": Column(
        LIST, "", "(m . f_j)^2/evals_j, j <= r: the part of an eigenvalue in the mean m of all tokens; 0 once centred"
    ),
    "position_share": Column(
        LIST,
        "",
        "sum_p n_p ((m_p - m) . f_j)^2/(N evals_j): its part in the means m_p of the positions; 0 once they are "
        "centred out; null where a row is one vector",
    ),
}
LAYOUT = Layout(
    NAME,
    {"overlap": OVERLAP, "overlap_covariances": COVARIANCES},
    "overlap.json",
    ("sweep",),
    keys={"overlap": ("name",), "overlap_covariances": ("tap",)},
    needed={
        "overlap": (
            *("role", "m", "n", "tap", "num_tokens", "num_axes", "overlap_null", "overlap_null_99"),
            *("overlap", "overlap_partner", "p_overlap"),
        ),
        "overlap_covariances": ("d", "num_tokens", "num_axes", "evals"),
    },
)
