"""The columns of a decomposed matrix: matrices.parquet (scalars) and spectra.parquet (lists by index).

Every study that decomposes matrices takes its columns from here. Columns of a random control carry the prefix
`control_<kind>_`, see `with_controls`.
"""

from collections.abc import Sequence
from typing import Any

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column, prefixed

_MP = "Marchenko & Pastur 1967"
_PL = "Clauset, Shalizi & Newman 2009; Martin & Mahoney 2021 (WeightWatcher)"
_CSN = "Clauset, Shalizi & Newman 2009"
_VU = "Vuong 1989"
_MM = "Martin & Mahoney 2021 (implicit self-regularization)"
_KS = "Thamm, Staats & Rosenow 2022"
_BH = "Benjamini & Hochberg 1995"
_DYSON = "Landa & Kluger 2023 (Dyson equalizer)"
_FLIPS = "Hong, Sheng & Dobriban 2020 (signflip parallel analysis)"

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
        "Kolmogorov-Smirnov distance between the singular values without the k right and l left outliers and the law "
        "of an (a - k) x (b - k - l) matrix with `sigma`; NaN where the counts are null",
        _MP,
        "MP distance",
    ),
    "mp_gof": Column(
        FLOAT,
        "",
        "T = K D, K = b - k - l, D = mp_ks but with sigma_bulk and the outliers at level 0.01 whatever the options; "
        "grows like ln K where the law holds; NaN where the counts are null",
        _MP,
        "MP fit T",
    ),
    "mp_gof_p": Column(
        FLOAT, "", "chance that a Gaussian matrix of this K and b/a has such a T; 1e-5 reads < 1e-5", _MP, "MP fit p"
    ),
    "mp_verdict": Column(
        TEXT,
        "",
        "`Marchenko-Pastur holds`, or `holds with k spikes` (outliers of both sides): mp_gof_p above the level; `does "
        "not describe the bulk: ...`: not above; `rank r: no bulk`: hard_rank < b/2; `undetermined: ...`: b < 8, no "
        "sigma, or more than b/2 outliers; `(small matrix)`: b < 16",
    ),
    "num_right_outliers": Column(
        COUNT,
        "",
        "#{s_i above the Tracy-Widom (beta = 1) quantile of the largest singular value at the level}; null for b < 8, "
        "for hard_rank < b/2 and without sigma",
        "Johnstone 2001",
        "right",
    ),
    "num_left_outliers": Column(
        COUNT,
        "",
        "#{s_i below the quantile of the smallest singular value at the level}: soft edge for m != n, hard edge "
        "for m = n; null where the right count is",
        "Ma 2012; Edelman 1988",
        "left",
    ),
    "energy_right": Column(FLOAT, "", "sum of lambda over the right outliers / sum lambda"),
    "energy_bulk": Column(FLOAT, "", "sum of lambda over what is no outlier / sum lambda"),
    "energy_left": Column(FLOAT, "", "sum of lambda over the left outliers / sum lambda"),
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
    "condition": Column(FLOAT, "", "s_1 / s_b; inf where hard_rank < b"),
    "mp_softrank": Column(FLOAT, "", "nu_plus^2 / lambda_1"),
    "alpha": Column(FLOAT, "", "exponent of the tail lambda^-alpha, lambda >= xmin, maximum likelihood", _PL),
    "xmin": Column(FLOAT, "[w]^2", "start of the tail: the lambda whose fit has the smallest distance pl_d", _PL),
    "pl_d": Column(FLOAT, "", "Kolmogorov-Smirnov distance between tail and fit", _PL),
    "pl_sigma": Column(
        FLOAT, "", "(alpha - 1) / sqrt(num_pl_spikes): standard error of alpha were xmin given; ignores its choice", _PL
    ),
    "num_pl_spikes": Column(COUNT, "", "#{lambda_i >= xmin}", _PL),
    "alpha_weighted": Column(FLOAT, "log10 [w]^(2 alpha)", "alpha log10(lambda_1)", _PL),
    "log_alpha_norm": Column(FLOAT, "log10 [w]^(2 alpha)", "log10(sum lambda^alpha)", _PL),
    "alpha_low": Column(
        FLOAT, "", "2.5 % point of alpha over bootstrap samples of lambda, xmin chosen anew in each; option bootstrap"
    ),
    "alpha_high": Column(FLOAT, "", "97.5 % point of alpha over the same samples"),
    "pl_p": Column(
        FLOAT,
        "",
        "goodness of fit of the power law: (1 + #{samples of the fit whose distance is >= pl_d}) / (1 + bootstrap)",
        _CSN,
        "power law's p",
    ),
    "llr_exponential": Column(
        FLOAT, "", "ln likelihood of the power law minus that of exp(-rate lambda), both on lambda >= xmin", _CSN
    ),
    "llr_exponential_p": Column(FLOAT, "", "p of both being equally far from the tail: normal test of the ratio", _VU),
    "llr_lognormal": Column(FLOAT, "", "the same ratio against a log-normal cut at xmin", _CSN),
    "llr_lognormal_p": Column(FLOAT, "", "its p", _VU),
    "llr_truncated": Column(FLOAT, "", "the same ratio against lambda^-alpha exp(-rate lambda); never above 0", _CSN),
    "llr_truncated_p": Column(FLOAT, "", "its p: 2 |ratio| against chi-square with one degree of freedom", _VU),
    "phase": Column(
        TEXT,
        "",
        "rank-collapse, random-like, bleeding-out, bulk+spikes, bulk-decay, heavy-tailed or undecided; from mp_gof_p, "
        "mp_ks, the outliers and the power law of the matrix as it is",
        _MM,
    ),
    "phase_evidence": Column(TEXT, "", "the numbers behind the phase"),
    "universality": Column(
        TEXT, "", "class of the power-law tail: weakly, moderately or very heavy-tailed; null where its fit fails", _MM
    ),
    "mu": Column(
        FLOAT,
        "",
        "exponent of entries that give such a tail: 2 (alpha - 1) while below 2, else by simulation; NaN beyond 3",
        _MM,
    ),
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

CONTROLS = {
    "signs": "the same entries with random signs",
    "gaussian": "a Gaussian matrix of the same shape and sigma",
    "permutation": "a permutation of its entries",
}
EQUALISED = "equalised_"
"""What the columns of the equalised reading begin with."""

PROFILE: dict[str, Column] = {
    "zero_rows": Column(COUNT, "", "rows of W that are all 0; the equalised reading is of the others"),
    "zero_columns": Column(COUNT, "", "columns of W that are all 0; the equalised reading is of the others"),
    "profile_rows": Column(
        FLOAT, "", "sd over the rows of ln sqrt(x_i), W_ij = sqrt(x_i y_j) Z_ij; zero rows left out", _DYSON
    ),
    "profile_columns": Column(FLOAT, "", "sd over the columns of ln sqrt(y_j); zero columns left out", _DYSON),
    **{
        f"profile_share_{what}": Column(
            FLOAT, "", f"share of {column} that the scales explain: ({column} - equalised_{column}) / {column}"
        )
        for what, column in (
            ("right", "num_right_outliers"),
            ("left", "num_left_outliers"),
            ("rejected_right", "rejected_right"),
            ("rejected_left", "rejected_left"),
        )
    },
}
SIGNS: dict[str, Column] = {
    "num_right_outliers_beyond_signs": Column(
        COUNT,
        "",
        "#{s_i above the level's quantile of the largest singular value under random signs}",
        _FLIPS,
        "right, beyond signs",
    ),
    "num_left_outliers_beyond_signs": Column(
        COUNT,
        "",
        "#{s_i below the level's quantile of the smallest singular value under random signs}",
        _FLIPS,
        "left, beyond signs",
    ),
    "signs_p_right": Column(FLOAT, "", "chance that random signs give a largest value of s_1 or more", _FLIPS),
    "signs_p_left": Column(FLOAT, "", "chance that random signs give a smallest value of s_b or less", _FLIPS),
    "signs_z_right": Column(FLOAT, "", "(ln s_1 - mean) / (sd sqrt(1 + 1/K)) over the K flips' largest values", _FLIPS),
    "signs_z_left": Column(FLOAT, "", "the same of -ln s_b; of nearly square matrices sd is the hard edge's", _FLIPS),
}


def control_prefix(kind: str) -> str:
    """What the columns of a random control begin with; "" for the matrix itself."""
    return f"control_{kind}_" if kind else ""


def with_controls(
    kinds: Sequence[str] = (), *, equalised: bool = False, signs: bool = False
) -> dict[str, dict[str, Column]]:
    """The tables "matrices" and "spectra" of a run.

    Args:
      kinds: of the random controls, which went down the same path.
      equalised: whether the matrix was read once more with rows and columns of one scale.
      signs: whether it was held against its own entries with random signs.
    """
    matrices = {name: MATRICES[name] for name in (*IDENTITY, *SCALARS)} | (SIGNS if signs else {})
    spectra = dict(SPECTRA)
    others = {control_prefix(kind): CONTROLS[kind] for kind in kinds}
    if equalised:
        matrices |= PROFILE
        others = {EQUALISED: "W with its rows and columns brought to one scale, W_ij / sqrt(x_i y_j)", **others}
    for prefix, of in others.items():
        matrices |= prefixed(MATRICES, prefix, of, SCALARS)
        spectra |= prefixed(SPECTRA, prefix, of, VECTORS)
    return {"matrices": matrices | {name: MATRICES[name] for name in OUTCOME}, "spectra": spectra}


def identity_row(source: Any) -> dict[str, Any]:
    """The columns IDENTITY of a matrix (anything with its attributes, `eigensweep.engine.run.inputs.MatrixSource`)."""
    m, n = source.shape
    return {"m": m, "n": n} | {key: getattr(source, key) for key in IDENTITY if key not in ("m", "n")}
