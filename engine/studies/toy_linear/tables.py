"""What a study of the linear model writes: a row a number of samples, and a row a simulation."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, LIST, TEXT, Column
from eigensweep.engine.tables.layout import Layout

NAME = "toy_linear"
_STAATS = "Staats, Thamm & Rosenow 2024"
_SILVERSTEIN = "Silverstein & Choi 1995"
_SAMPLES = Column(COUNT, "", "N, the number of samples that W_hat is fitted to")
_ISOTROPIC = "data that vary alike in all directions, Sigma of the same harmonic mean"

SAMPLES = {
    "samples": _SAMPLES,
    "ratio": Column(FLOAT, "", "d/N"),
    "num_simulations": Column(COUNT, "", "simulations in the means"),
    "population": Column(
        TEXT, "", "of the law: `law` of (X X^T)^-1 (and W*), or `simulated` where W* reads some directions only"
    ),
    "threshold": Column(
        FLOAT, "", f"what smallest over median singular value falls below with probability `level` for {_ISOTROPIC}"
    ),
    "num_lower": Column(FLOAT, "", "lower outliers per simulation, s_k < threshold * median(s): their mean"),
    "num_lower_low": Column(FLOAT, "", "lower end of its 95 % bootstrap interval over simulations"),
    "num_lower_high": Column(FLOAT, "", "upper end of it"),
    "law_num_lower": Column(FLOAT, "", "the law's: K F(threshold * F^-1(1/2)), K = min(m, d)", _SILVERSTEIN),
    "num_any": Column(COUNT, "", "simulations that have a lower outlier"),
    "overlap_lower": Column(FLOAT, "", "mean of O_k over the lower outliers of all simulations; NaN if none", _STAATS),
    "overlap_inside": Column(FLOAT, "", "mean of O_k over all other right singular vectors", _STAATS),
    "overlap_null": Column(FLOAT, "", "mean of O for a random rotation of the inputs"),
    "overlap_null_99": Column(FLOAT, "", "99 % quantile of O for a random rotation"),
    "p_overlap_lower": Column(
        FLOAT, "", "one-sided, O larger for lower outliers than for the others: permutations within each simulation"
    ),
    "variance_lower": Column(FLOAT, "", "mean of v_k^T Sigma v_k d/tr(Sigma) over the lower outliers; 1 by chance"),
    "variance_inside": Column(FLOAT, "", "the same over all other right singular vectors"),
    "risk": Column(FLOAT, "[y]^2", "mean of tr (W_hat - W*) Sigma (W_hat - W*)^T, the error on new data but for noise"),
    "expected_risk": Column(FLOAT, "[y]^2", "noise^2 m d/(N - d - 1)"),
    "ks_law": Column(FLOAT, "", "mean Kolmogorov-Smirnov distance of a simulation's values from the law", _SILVERSTEIN),
    "ks_inverse": Column(FLOAT, "", "from the law of the population noise^2/(N lambda), as if X X^T were N Sigma"),
    "ks_simulations": Column(FLOAT, "", "from all other simulations together: about what a true law would come to"),
    "largest": Column(FLOAT, "[w]", "mean over simulations of the largest singular value"),
    "law_largest": Column(FLOAT, "[w]", "the law's upper edge", _SILVERSTEIN),
    "inverse_largest": Column(FLOAT, "[w]", "upper edge of the law as if X X^T were N Sigma"),
    "smallest": Column(FLOAT, "[w]", "mean over simulations of the smallest singular value"),
    "law_smallest": Column(FLOAT, "[w]", "the law's lower edge", _SILVERSTEIN),
    "support": Column(LIST, "[w]", "edges of the intervals of the law's support: lower, upper, lower, ..."),
    "law_at": Column(LIST, "[w]", "singular values at which the law is written down"),
    "law_density": Column(LIST, "1/[w]", "its density there", _SILVERSTEIN),
    "law_cdf": Column(LIST, "", "share of the singular values that it puts below"),
    "inverse_density": Column(LIST, "1/[w]", "density there of the law as if X X^T were N Sigma"),
    "covariance": Column(LIST, "[x]^2", "lambda_j, eigenvalues of Sigma, descending"),
    "noise": Column(LIST, "[w]^2", "mean square of the entries of W_hat - W* along each eigenvector of Sigma"),
    "expected_noise": Column(LIST, "[w]^2", "noise^2/((N - d - 1) lambda_j)"),
}  # fmt: skip
SEEDS = {
    "samples": _SAMPLES,
    "simulation": Column(COUNT, "", "which simulation, from 0; more samples begin with those of fewer"),
    "num_lower": Column(COUNT, "", "#{s_k < threshold * median(s)}: lower outliers"),
    "lower_edge": Column(FLOAT, "[w]", "threshold * median(s)"),
    "ks_law": Column(FLOAT, "", "Kolmogorov-Smirnov distance from the law", _SILVERSTEIN),
    "risk": Column(FLOAT, "[y]^2", "tr (W_hat - W*) Sigma (W_hat - W*)^T"),
    "singular_values": Column(LIST, "[w]", "s_k of W_hat, descending"),
    "overlap": Column(LIST, "", "O_k = max_j |v_k . f_j|, f_j the eigenvectors of Sigma", _STAATS),
    "overlap_partner": Column(INDICES, "", "the j that attains O_k, 0 for the largest eigenvalue"),
    "p_overlap": Column(LIST, "", "P(O >= O_k) for a random rotation"),
    "variance": Column(LIST, "", "v_k^T Sigma v_k d/tr(Sigma): the data's variance along v_k, 1 for a random vector"),
}
LAYOUT = Layout(
    NAME,
    {"toy_linear": SAMPLES, "toy_linear_seeds": SEEDS},
    "toy_linear.json",
    keys={"toy_linear": ("samples",), "toy_linear_seeds": ("samples", "simulation")},
    needed={
        "toy_linear": tuple(name for name, column in SAMPLES.items() if column.dtype == LIST),
        "toy_linear_seeds": tuple(name for name, column in SEEDS.items() if column.dtype in (LIST, INDICES)),
    },
)
