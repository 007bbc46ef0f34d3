"""The columns of a decomposed matrix: matrices.parquet (scalars) and spectra.parquet (lists by index).

Every study that decomposes matrices takes its columns from here. Columns of a random control carry the prefix
`control_<kind>_`, see `with_controls`.
"""

from collections.abc import Sequence
from typing import Any

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, TRUTH, Column, prefixed
from eigensweep.engine.tables.equalised import EQUALISED as EQUALISED
from eigensweep.engine.tables.equalised import EQUALISED_W, OF_EQUALISED
from eigensweep.engine.tables.equalised import PROFILE as PROFILE
from eigensweep.engine.tables.equalised import SIGNS as SIGNS
from eigensweep.engine.tables.kept import KEPT

_MP = "Marchenko & Pastur 1967"
_PL = "Clauset, Shalizi & Newman 2009; Martin & Mahoney 2021 (WeightWatcher)"
_CSN = "Clauset, Shalizi & Newman 2009"
_VU = "Vuong 1989"
_MM = "Martin & Mahoney 2021 (implicit self-regularization)"
_KS = "Thamm, Staats & Rosenow 2022"
_BH = "Benjamini & Hochberg 1995"

MATRICES: dict[str, Column] = {
    "name": Column(TEXT, "", "the tensor's name in the checkpoint; `:part` of a fused and `[i]` of a stacked one"),
    "role": Column(TEXT, "", "what the matrix does: query, key, value, attention_output, mlp_up, ..."),
    "tower": Column(
        TEXT,
        "",
        "the stack it stands in, where a model has several: encoder, decoder, vision, text, audio; decoder.cross where "
        "a decoder attends to an encoder; empty where a model is one stack, and for what its stacks share",
    ),
    "guessed": Column(TRUTH, "", "the role was guessed from the name: the architecture does not know the tensor"),
    "block": Column(COUNT, "", "transformer block, from 0; null outside the blocks"),
    "expert": Column(COUNT, "", "expert within the block, from 0; null where there are none"),
    "m": Column(COUNT, "", "rows of W: the output dimension"),
    "n": Column(COUNT, "", "columns of W: the input dimension"),
    "dtype": Column(TEXT, "", "type of the weights as they are read"),
    "quantised": Column(
        TEXT,
        "",
        "what the weights are stored as, where they were dequantised to `dtype`, as `nf4, blocks of 64`; empty where "
        "not, null in runs that did not tell. Their noise includes that of rounding",
    ),
    "sigma": Column(FLOAT, "[w]", "the standard deviation that sets the edges: the one the option `sigma` names"),
    "sigma_entries": Column(FLOAT, "[w]", "standard deviation of the entries of W; spikes inflate it"),
    "sigma_bulk": Column(
        FLOAT,
        "[w]",
        "fixed point of sigma^2 = sum of lambda over the middle of the bulk / the sum expected at sigma = 1. Without k "
        "right and l left outliers at level 1e-4 (at most b/2) the law F has h = a - k, K = b - k - l, r = sqrt(K/h), "
        "lambda(t) = h (1 + r^2 - 2 r cos t), t from 0 to pi. The middle: values i, each as the ranks i - 1 to i from "
        "below, within l + K F(t), 0.8 - 0.64 r < t < 2.35 - 0.47 r (all t for b < 10); expected there: the integral "
        "of K lambda dF - (1/4 - t/(2 pi)) dlambda",
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
        "T = K D, K = b - k - l, D = mp_ks but with sigma_bulk and the outliers at level 0.01 whatever the options and "
        "the reading; grows like ln K where the law holds; NaN where the counts are null",
        _MP,
        "MP fit T",
    ),
    "mp_gof_p": Column(
        FLOAT,
        "",
        "chance that a Gaussian matrix of this K and b/a has a T as large, simulated; 1e-5 reads < 1e-5",
        _MP,
        "MP fit p",
    ),
    "mp_verdict": Column(
        TEXT,
        "",
        "`Marchenko-Pastur holds`, or `holds with k spikes` (outliers of both sides): mp_gof_p above the level; `does "
        "not describe the bulk: ...`: not above (or at mp_gof_p's bound); before these, `rank r: no bulk`: hard_rank < "
        "b/2; `undetermined: ...`: b < 8, no sigma, or more than b/2 outliers; `(small matrix)` is added for b < 16",
    ),
    "num_right_outliers": Column(
        COUNT,
        "",
        "#{s_i > sigma sqrt(mu + q sc)}: mu = (c + d)^2, sc = (c + d) (1/c + 1/d)^(1/3), c^2 = a - 1/2, d^2 = b - 1/2, "
        "q the 1 - level quantile of Tracy-Widom's F1; null for b < 8, for hard_rank < b/2 and without sigma",
        "Johnstone 2001; Ma 2012",
        "right",
    ),
    "num_left_outliers": Column(
        COUNT,
        "",
        "#{s_i < sigma sqrt(mu) exp(-q sc/(2 mu))}: mu = (c - d)^2, sc = (c - d) (1/d - 1/c)^(1/3), c, d, q as on the "
        "right; for a - b <= min(b/4, 64) the hard edge: a = b by Edelman's P(b s_b^2 > x sigma^2) = exp(-x/2 - "
        "sqrt(x)), else Forrester's law of (a + b - 1)/2 s_b^2; null where the right count is",
        "Ma 2012; Edelman 1988; Forrester 2006",
        "left",
    ),
    "energy_right": Column(FLOAT, "", "sum of lambda over the right outliers / sum lambda"),
    "energy_bulk": Column(FLOAT, "", "sum of lambda over what is no outlier / sum lambda"),
    "energy_left": Column(FLOAT, "", "sum of lambda over the left outliers / sum lambda"),
    "hard_rank": Column(COUNT, "", "#{s_i > s_1 a eps}, eps of the stored dtype (at most float32's)"),
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
    "alpha": Column(
        FLOAT, "", "exponent of the tail lambda^-alpha: 1 + n / sum ln(lambda/xmin) over the n lambda >= xmin", _PL
    ),
    "xmin": Column(
        FLOAT,
        "[w]^2",
        "start of the tail: of the lambda_i, 10 <= i <= hard_rank, the one with the smallest pl_d (option power_law = "
        "weightwatcher: its own fit)",
        _PL,
    ),
    "pl_d": Column(
        FLOAT, "", "Kolmogorov-Smirnov distance, two-sided, between the tail and 1 - (lambda/xmin)^(1 - alpha)", _PL
    ),
    "pl_sigma": Column(
        FLOAT, "", "(alpha - 1) / sqrt(num_pl_spikes): standard error of alpha were xmin given; ignores its choice", _PL
    ),
    "num_pl_spikes": Column(COUNT, "", "#{lambda_i >= xmin}", _PL),
    "alpha_weighted": Column(FLOAT, "log10 [w]^(2 alpha)", "alpha log10(lambda_1)", _PL),
    "log_alpha_norm": Column(FLOAT, "log10 [w]^(2 alpha)", "log10(sum lambda^alpha)", _PL),
    "alpha_low": Column(
        FLOAT,
        "",
        "2.5 % point of alpha over samples of b lambda with replacement, xmin chosen anew in each; their number: "
        "option bootstrap, 0 leaves NaN in this and the columns to llr_truncated_p",
    ),
    "alpha_high": Column(FLOAT, "", "97.5 % point of alpha over the same samples"),
    "pl_p": Column(
        FLOAT,
        "",
        "goodness of fit of the power law: (1 + #{samples whose pl_d is as large}) / (1 + bootstrap); a sample's value "
        "is of the fit with chance num_pl_spikes/b, else one of the lambda < xmin; xmin chosen anew in each",
        _CSN,
        "power law's p",
    ),
    "llr_exponential": Column(
        FLOAT,
        "",
        "R = ln likelihood of the power law minus that of exp(-rate lambda), both fitted to lambda >= xmin",
        _CSN,
    ),
    "llr_exponential_p": Column(
        FLOAT, "", "p of both being equally far from the tail: erfc(|R|/sqrt(2 n var)), var of the n terms of R", _VU
    ),
    "llr_lognormal": Column(FLOAT, "", "R against a log-normal law of lambda >= xmin", _CSN),
    "llr_lognormal_p": Column(FLOAT, "", "its p", _VU),
    "llr_truncated": Column(
        FLOAT, "", "R against lambda^-alpha exp(-rate lambda), alpha and rate >= 0; never above 0", _CSN
    ),
    "llr_truncated_p": Column(FLOAT, "", "its p: 2 |R| against chi-square with one degree of freedom", _VU),
    "phase": Column(
        TEXT,
        "",
        "rank-collapse: at least b/20 of the s (and two) at most 1/100 of the median within hard_rank. Else undecided: "
        "b < 16 or no mp_gof_p. Else, mp_gof_p >= 0.01 or mp_ks <= 0.01: random-like without right outliers; "
        "bleeding-out with up to b/10 and s_1/nu_plus - 1 <= 10 sc/(2 mu), see num_right_outliers; else bulk+spikes; "
        "but undecided with more than b/10 outliers and a power law. Else heavy-tailed: a power law (pl_p > 0.1 or, "
        "where NaN, sqrt(num_pl_spikes) pl_d <= 0.73) over a decade of lambda or b/2 values; else bulk-decay: mp_ks < "
        "0.25; else undecided",
        _MM,
    ),
    "phase_evidence": Column(TEXT, "", "a sentence with the numbers behind the phase"),
    "universality": Column(
        TEXT,
        "",
        "class of the power-law tail by x = (alpha + 4.4)/3.5: very (x < 2), moderately (x <= 2.75) or weakly "
        "heavy-tailed; null where Marchenko-Pastur holds or the power law is rejected, both as in phase",
        _MM,
    ),
    "mu": Column(
        FLOAT,
        "",
        "exponent of entries that give such a tail: min(2 (alpha - 1), 2) of a very heavy one, x (fitted to simulated "
        "matrices) of a moderately heavy one, else NaN",
        _MM,
    ),
    "quasi_null_count": Column(COUNT, "", "#{s_i < nu_minus}, a description; its test is equalised_num_left_outliers"),
    "quasi_null_fraction": Column(FLOAT, "", "quasi_null_count / b"),
    "p_largest": Column(
        FLOAT,
        "",
        "chance that the largest singular value of Gaussian noise (sigma) is as large as s_1, by the law of "
        "num_right_outliers: 1 - F1((s_1^2/sigma^2 - mu)/sc); at least 1e-9; NaN where the counts are null",
        "Johnstone 2001; Ma 2012",
    ),
    "p_smallest": Column(
        FLOAT,
        "",
        "chance that the smallest singular value of Gaussian noise (sigma) is as small as s_b, by the law of "
        "num_left_outliers; at least 1e-9; NaN where the counts are null",
        "Ma 2012; Edelman 1988; Forrester 2006",
    ),
    "entries_kurtosis": Column(
        FLOAT,
        "",
        "excess kurtosis of the entries of W, mean z^4/(mean z^2)^2 - 3 about their mean, without those that differ "
        "from the mean of all by sigma_entries (m n)^(1/4) or more: each of these makes a singular value of its own",
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
    "rejected_right": Column(
        COUNT, "", "#{p_right <= the largest p_(k) <= level k/N}, p_(k) the k-th smallest of the N that there are", _BH
    ),
    "rejected_left": Column(
        COUNT, "", "#{p_left <= the largest p_(k) <= level k/N}, p_(k) the k-th smallest of the N that there are", _BH
    ),
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
    "residual": Column(
        FLOAT, "", "||W - U diag(s) V^T||_F / ||W||_F, estimated from its products with 8 random vectors"
    ),
    "orthogonality": Column(
        FLOAT, "", "largest entry of |(U^T U - 1) Z| and |(V^T V - 1) Z|, Z (b, 8) standard Gaussian numbers"
    ),
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
    "p_right_avg": Column(
        LIST,
        "",
        "mean of p_right over 15 neighbouring indices, fewer at the ends, without NaN; NaN where p_right is",
        _KS,
    ),
    "p_left_avg": Column(
        LIST,
        "",
        "mean of p_left over 15 neighbouring indices, fewer at the ends, without NaN; NaN where p_left is",
        _KS,
    ),
}

IDENTITY = ("name", "role", "tower", "guessed", "block", "expert", "m", "n", "dtype", "quantised")
_ABSENT = {"tower": "", "guessed": False, "quantised": ""}  # what a matrix without these attributes has
OUTCOME = ("strategy", "status")
SCALARS = tuple(name for name in MATRICES if name not in (*IDENTITY, *OUTCOME))
VECTORS = tuple(name for name in SPECTRA if name != "name")

CONTROLS = {
    "signs": "the same entries with random signs",
    "gaussian": "a Gaussian matrix of the same shape and sigma",
    "permutation": "a permutation of its entries",
    "grid": "Gaussian noise with the sum of squares of each block of entries that share a scale, on the "
    "levels of the quantised W; of a W that is not quantised, a Gaussian matrix",
}


_OF_EQUALISED = {name: MATRICES[name]._replace(formula=formula) for name, formula in OF_EQUALISED.items()}


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
    if equalised or signs:  # readings for which the vectors are at hand
        spectra |= KEPT
    others = {control_prefix(kind): CONTROLS[kind] for kind in kinds}
    if equalised:
        matrices |= PROFILE
        others = {EQUALISED: EQUALISED_W, **others}
    for prefix, of in others.items():
        columns = MATRICES | (_OF_EQUALISED if prefix == EQUALISED else {})
        matrices |= prefixed(columns, prefix, of, SCALARS)
        spectra |= prefixed(SPECTRA, prefix, of, VECTORS)
    return {"matrices": matrices | {name: MATRICES[name] for name in OUTCOME}, "spectra": spectra}


def identity_row(source: Any) -> dict[str, Any]:
    """The columns IDENTITY of a matrix (anything with its attributes, `eigensweep.engine.run.inputs.MatrixSource`)."""
    m, n = source.shape
    named = {key: getattr(source, key) for key in IDENTITY if key not in ("m", "n", *_ABSENT)}
    return {"m": m, "n": n} | named | {key: getattr(source, key, absent) for key, absent in _ABSENT.items()}
