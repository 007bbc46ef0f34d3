"""The columns of a decomposed matrix: matrices.parquet (scalars) and spectra.parquet (lists by index).

Every study that decomposes matrices takes its columns from here. Columns of a random control carry the prefix
`control_<kind>_`, see `with_controls`.
"""

from collections.abc import Sequence
from typing import Any

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column, prefixed

_MP = "Marchenko & Pastur 1967"
_PL = "Clauset, Shalizi & Newman 2009; Martin & Mahoney 2021 (WeightWatcher)"
_KS = "Thamm, Staats & Rosenow 2022"
_BH = "Benjamini & Hochberg 1995"

MATRICES: dict[str, Column] = {
    "name": Column(TEXT, "", "the tensor's name in the checkpoint; `:part` of a fused and `[i]` of a stacked one"),
    "role": Column(TEXT, "", "what the matrix does: query, key, value, attention_output, mlp_up, ..."),
    "block": Column(COUNT, "", "transformer block, from 0; null outside the blocks"),
    "expert": Column(COUNT, "", "expert within the block, from 0; null where there are none"),
    "m": Column(COUNT, "", "rows of W: the output dimension"),
    "n": Column(COUNT, "", "columns of W: the input dimension"),
    "dtype": Column(TEXT, "", "type of the stored weights"),
    "sigma": Column(FLOAT, "[w]", "the standard deviation that sets the edges: the one the option `sigma` names"),
    "sigma_entries": Column(FLOAT, "[w]", "standard deviation of the entries of W; spikes inflate it"),
    "sigma_bulk": Column(
        FLOAT, "[w]", "standard deviation whose Marchenko-Pastur law fits the bulk of s; unmoved by spikes"
    ),
    "nu_minus": Column(FLOAT, "[w]", "left edge of the bulk: sigma sqrt(a) (1 - sqrt(b/a))", _MP),
    "nu_plus": Column(FLOAT, "[w]", "right edge of the bulk: sigma sqrt(a) (1 + sqrt(b/a))", _MP),
    "mp_ks": Column(
        FLOAT,
        "",
        "Kolmogorov-Smirnov distance between the singular values without outliers and the law",
        _MP,
        "MP distance",
    ),
    "num_right_outliers": Column(
        COUNT,
        "",
        "#{s_i above the Tracy-Widom (beta = 1) quantile of the largest singular value at the level}",
        "Johnstone 2001",
        "right",
    ),
    "num_left_outliers": Column(
        COUNT,
        "",
        "#{s_i below the quantile of the smallest singular value at the level}: soft edge for m != n, hard edge "
        "for m = n",
        "Ma 2012; Edelman 1988",
        "left",
    ),
    "hard_rank": Column(COUNT, "", "#{s_i > s_1 a eps}, eps of the stored dtype"),
    "stable_rank": Column(FLOAT, "", "sum lambda / lambda_1"),
    "entropy": Column(FLOAT, "", "- sum p ln p / ln(hard_rank), p = lambda / sum lambda"),
    "effective_rank": Column(FLOAT, "", "exp(- sum p ln p), p = s / sum s", "Roy & Vetterli 2007"),
    "participation": Column(FLOAT, "", "(sum lambda)^2 / sum lambda^2"),
    "norm": Column(FLOAT, "[w]^2", "sum lambda"),
    "spectral_norm": Column(FLOAT, "[w]^2", "lambda_1 = s_1^2 (WeightWatcher's use of the name)"),
    "frobenius_norm": Column(FLOAT, "[w]", "sqrt(sum lambda)"),
    "log_norm": Column(FLOAT, "log10 [w]^2", "log10(sum lambda)"),
    "log_spectral_norm": Column(FLOAT, "log10 [w]^2", "log10(lambda_1)"),
    "condition": Column(FLOAT, "", "s_1 / s_b"),
    "mp_softrank": Column(FLOAT, "", "nu_plus^2 / lambda_1"),
    "alpha": Column(FLOAT, "", "exponent of the tail lambda^-alpha, lambda >= xmin, maximum likelihood", _PL),
    "xmin": Column(FLOAT, "[w]^2", "start of the tail: the lambda whose fit has the smallest distance pl_d", _PL),
    "pl_d": Column(FLOAT, "", "Kolmogorov-Smirnov distance between tail and fit", _PL),
    "pl_sigma": Column(FLOAT, "", "standard error of alpha: (alpha - 1) / sqrt(num_pl_spikes)", _PL),
    "num_pl_spikes": Column(COUNT, "", "#{lambda_i >= xmin}", _PL),
    "alpha_weighted": Column(FLOAT, "log10 [w]^2", "alpha log10(lambda_1)", _PL),
    "log_alpha_norm": Column(FLOAT, "log10 [w]^(2 alpha)", "log10(sum lambda^alpha)", _PL),
    "quasi_null_count": Column(COUNT, "", "#{s_i < nu_minus}"),
    "quasi_null_fraction": Column(FLOAT, "", "quasi_null_count / b"),
    "p_largest": Column(
        FLOAT,
        "",
        "chance that the largest singular value of Gaussian noise (sigma) is as large as s_1, by the law of "
        "num_right_outliers; at least 1e-9; NaN for b < 8",
        "Johnstone 2001; Ma 2012",
    ),
    "p_smallest": Column(
        FLOAT,
        "",
        "chance that the smallest singular value of Gaussian noise (sigma) is as small as s_b, by the law of "
        "num_left_outliers; at least 1e-9; NaN for b < 8 and where the bulk is all rounding",
        "Ma 2012; Edelman 1988; Forrester 2006",
    ),
    "entries_kurtosis": Column(
        FLOAT,
        "",
        "excess kurtosis of the entries of W, mean z^4/(mean z^2)^2 - 3, without those that differ from the mean by "
        "sigma_entries (m n)^(1/4) or more: each of these makes a singular value of its own",
    ),
    "mean_p_right": Column(FLOAT, "", "mean of the p_right that there are; 0.5 for noise", _KS),
    "mean_p_left": Column(FLOAT, "", "mean of the p_left that there are; 0.5 for noise", _KS),
    "mean_p_right_z": Column(
        FLOAT,
        "",
        "(mean_p_right - 0.5)/sd, sd = sqrt((1 + (k - 1) rho)/(12 k)), rho = -min(1, 0.4 + 4/n^2)/(n - 1), of k "
        "p_right; about N(0, 1) for Gaussian noise",
    ),
    "mean_p_left_z": Column(FLOAT, "", "the same of mean_p_left, with m for n"),
    "rejected_right": Column(COUNT, "", "right vectors whose p the procedure rejects at the level", _BH),
    "rejected_left": Column(COUNT, "", "left vectors whose p the procedure rejects at the level", _BH),
    "rejected_share_right": Column(
        FLOAT, "", "rejected_right over the number of p_right that there are", _BH, "rejected, right"
    ),
    "rejected_share_left": Column(
        FLOAT, "", "rejected_left over the number of p_left that there are", _BH, "rejected, left"
    ),
    "undetermined": Column(
        COUNT,
        "",
        "singular vectors that W does not determine: index beyond hard_rank, or a gap to a neighbouring singular value "
        "of at most b eps_64 s_1 + eps |W|_F/sqrt(m n), eps of the stored dtype (at most float32's)",
    ),
    "residual": Column(FLOAT, "", "||W - U diag(s) V^T||_F / ||W||_F"),
    "orthogonality": Column(FLOAT, "", "largest entry of |U^T U - 1| and |V^T V - 1|"),
    "strategy": Column(TEXT, "", "how W was decomposed: lapack, gram, polar, direct or streamed"),
    "status": Column(TEXT, "", "`ok`, or why the statistics are missing"),
}

SPECTRA: dict[str, Column] = {
    "name": MATRICES["name"],
    "singular_values": Column(LIST, "[w]", "s_1 >= ... >= s_b"),
    "ks_right": Column(
        LIST, "", "D_i = max_j |F_emp(x_j) - Phi(sqrt(n) x_j)| over the entries x of v_i (input space)", _KS
    ),
    "ks_left": Column(LIST, "", "the same for u_i (output space), with sqrt(m)", _KS),
    "p_right": Column(
        LIST,
        "",
        "chance that a random unit vector has a D as large as v_i's; NaN where W does not determine v_i (see "
        "undetermined), and for all v_i where |entries_kurtosis| sqrt(n)/m > 0.5: there D tests the entries, not "
        "directions",
        _KS,
    ),
    "p_left": Column(
        LIST,
        "",
        "chance that a random unit vector has a D as large as u_i's; NaN where W does not determine u_i, and for all "
        "where |entries_kurtosis| sqrt(m)/n > 0.5",
        _KS,
    ),
    "p_right_avg": Column(LIST, "", "mean of p_right over 15 neighbouring indices, fewer at the ends", _KS),
    "p_left_avg": Column(LIST, "", "mean of p_left over 15 neighbouring indices, fewer at the ends", _KS),
}

IDENTITY = ("name", "role", "block", "expert", "m", "n", "dtype")
OUTCOME = ("strategy", "status")
SCALARS = tuple(name for name in MATRICES if name not in (*IDENTITY, *OUTCOME))
VECTORS = tuple(name for name in SPECTRA if name != "name")
CONTROLS = {"gaussian": "a Gaussian matrix of the same shape and sigma", "permutation": "a permutation of its entries"}


def control_prefix(kind: str) -> str:
    """What the columns of a random control begin with; "" for the matrix itself."""
    return f"control_{kind}_" if kind else ""


def with_controls(kinds: Sequence[str]) -> dict[str, dict[str, Column]]:
    """The tables "matrices" and "spectra" of a run with these controls, which went down the same path."""
    matrices = {name: MATRICES[name] for name in (*IDENTITY, *SCALARS)}
    spectra = dict(SPECTRA)
    for kind in kinds:
        matrices |= prefixed(MATRICES, control_prefix(kind), CONTROLS[kind], SCALARS)
        spectra |= prefixed(SPECTRA, control_prefix(kind), CONTROLS[kind], VECTORS)
    return {"matrices": matrices | {name: MATRICES[name] for name in OUTCOME}, "spectra": spectra}


def identity_row(source: Any) -> dict[str, Any]:
    """The columns IDENTITY of a matrix (anything with its attributes, `eigensweep.engine.run.inputs.MatrixSource`)."""
    m, n = source.shape
    return {"m": m, "n": n} | {key: getattr(source, key) for key in IDENTITY if key not in ("m", "n")}
