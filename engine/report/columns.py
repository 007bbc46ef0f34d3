"""Every column of matrices.parquet and spectra.parquet: type, unit, formula, source. The one place that defines them.

Notation: W is (m, n), y = W x; a = max(m, n), b = min(m, n); s_1 >= ... >= s_b its singular values,
lambda_i = s_i^2; v_i its right and u_i its left singular vectors; sigma the column `sigma`; ln is the natural
logarithm; [w] is the unit of the weights. Columns of a random control carry a prefix, see `describe`.
"""

from typing import NamedTuple


class Column(NamedTuple):
    """One column: `dtype` as stored, `unit` ("" for a pure number), `formula` and the `source` of the method."""

    dtype: str
    unit: str
    formula: str
    source: str = ""


_MP = "Marchenko & Pastur 1967"
_PL = "Clauset, Shalizi & Newman 2009; Martin & Mahoney 2021 (WeightWatcher)"
_KS = "Thamm, Staats & Rosenow 2022"
_BH = "Benjamini & Hochberg 1995"
_COUNT, _FLOAT, _TEXT, _LIST = "int64", "float64", "string", "list<float64>"

MATRICES: dict[str, Column] = {
    "name": Column(
        _TEXT, "", "the tensor's name in the checkpoint; `:part` of a fused and `[i]` of a stacked one"
    ),
    "role": Column(_TEXT, "", "what the matrix does: query, key, value, attention_output, mlp_up, ..."),
    "block": Column(_COUNT, "", "transformer block, from 0; null outside the blocks"),
    "expert": Column(_COUNT, "", "expert within the block, from 0; null where there are none"),
    "m": Column(_COUNT, "", "rows of W: the output dimension"),
    "n": Column(_COUNT, "", "columns of W: the input dimension"),
    "dtype": Column(_TEXT, "", "type of the stored weights"),
    "sigma": Column(
        _FLOAT, "[w]", "the standard deviation that sets the edges: the one the option `sigma` names"
    ),
    "sigma_entries": Column(_FLOAT, "[w]", "standard deviation of the entries of W; spikes inflate it"),
    "sigma_bulk": Column(
        _FLOAT, "[w]", "standard deviation whose Marchenko-Pastur law fits the bulk of s; unmoved by spikes"
    ),
    "nu_minus": Column(_FLOAT, "[w]", "left edge of the bulk: sigma sqrt(a) (1 - sqrt(b/a))", _MP),
    "nu_plus": Column(_FLOAT, "[w]", "right edge of the bulk: sigma sqrt(a) (1 + sqrt(b/a))", _MP),
    "mp_ks": Column(
        _FLOAT,
        "",
        "Kolmogorov-Smirnov distance between the singular values without outliers and the law",
        _MP,
    ),
    "num_right_outliers": Column(
        _COUNT,
        "",
        "#{s_i above the Tracy-Widom (beta = 1) quantile of the largest singular value at the level}",
        "Johnstone 2001",
    ),
    "num_left_outliers": Column(
        _COUNT,
        "",
        "#{s_i below the quantile of the smallest singular value at the level}: soft edge for m != n, hard edge "
        "for m = n",
        "Ma 2012; Edelman 1988",
    ),
    "hard_rank": Column(_COUNT, "", "#{s_i > s_1 a eps}, eps of the stored dtype"),
    "stable_rank": Column(_FLOAT, "", "sum lambda / lambda_1"),
    "entropy": Column(_FLOAT, "", "- sum p ln p / ln(hard_rank), p = lambda / sum lambda"),
    "effective_rank": Column(_FLOAT, "", "exp(- sum p ln p), p = s / sum s", "Roy & Vetterli 2007"),
    "participation": Column(_FLOAT, "", "(sum lambda)^2 / sum lambda^2"),
    "norm": Column(_FLOAT, "[w]^2", "sum lambda"),
    "spectral_norm": Column(_FLOAT, "[w]^2", "lambda_1 = s_1^2 (WeightWatcher's use of the name)"),
    "frobenius_norm": Column(_FLOAT, "[w]", "sqrt(sum lambda)"),
    "log_norm": Column(_FLOAT, "log10 [w]^2", "log10(sum lambda)"),
    "log_spectral_norm": Column(_FLOAT, "log10 [w]^2", "log10(lambda_1)"),
    "condition": Column(_FLOAT, "", "s_1 / s_b"),
    "mp_softrank": Column(_FLOAT, "", "nu_plus^2 / lambda_1"),
    "alpha": Column(
        _FLOAT, "", "exponent of the tail lambda^-alpha, lambda >= xmin, maximum likelihood", _PL
    ),
    "xmin": Column(
        _FLOAT, "[w]^2", "start of the tail: the lambda whose fit has the smallest distance pl_d", _PL
    ),
    "pl_d": Column(_FLOAT, "", "Kolmogorov-Smirnov distance between tail and fit", _PL),
    "pl_sigma": Column(_FLOAT, "", "standard error of alpha: (alpha - 1) / sqrt(num_pl_spikes)", _PL),
    "num_pl_spikes": Column(_COUNT, "", "#{lambda_i >= xmin}", _PL),
    "alpha_weighted": Column(_FLOAT, "log10 [w]^2", "alpha log10(lambda_1)", _PL),
    "log_alpha_norm": Column(_FLOAT, "log10 [w]^(2 alpha)", "log10(sum lambda^alpha)", _PL),
    "quasi_null_count": Column(_COUNT, "", "#{s_i < nu_minus}"),
    "quasi_null_fraction": Column(_FLOAT, "", "quasi_null_count / b"),
    "mean_p_right": Column(
        _FLOAT, "", "mean of p_right over the vectors that are determined; 0.5 for noise", _KS
    ),
    "mean_p_left": Column(
        _FLOAT, "", "mean of p_left over the vectors that are determined; 0.5 for noise", _KS
    ),
    "rejected_right": Column(_COUNT, "", "right vectors whose p the procedure rejects at the level", _BH),
    "rejected_left": Column(_COUNT, "", "left vectors whose p the procedure rejects at the level", _BH),
    "undetermined": Column(_COUNT, "", "b - hard_rank: singular vectors that W does not determine"),
    "residual": Column(_FLOAT, "", "||W - U diag(s) V^T||_F / ||W||_F"),
    "orthogonality": Column(_FLOAT, "", "largest entry of |U^T U - 1| and |V^T V - 1|"),
    "strategy": Column(_TEXT, "", "how W was decomposed: gram, direct, polar or lapack"),
    "status": Column(_TEXT, "", "`ok`, or why the statistics are missing"),
}

SPECTRA: dict[str, Column] = {
    "name": MATRICES["name"],
    "singular_values": Column(_LIST, "[w]", "s_1 >= ... >= s_b"),
    "ks_right": Column(
        _LIST, "", "D_i = max_j |F_emp(x_j) - Phi(sqrt(n) x_j)| over the entries x of v_i (input space)", _KS
    ),
    "ks_left": Column(_LIST, "", "the same for u_i (output space), with sqrt(m)", _KS),
    "p_right": Column(
        _LIST, "", "chance that a random unit vector has a D as large as v_i's; NaN beyond hard_rank", _KS
    ),
    "p_left": Column(_LIST, "", "chance that a random unit vector has a D as large as u_i's", _KS),
    "p_right_avg": Column(_LIST, "", "mean of p_right over 15 neighbouring indices, fewer at the ends", _KS),
    "p_left_avg": Column(_LIST, "", "mean of p_left over 15 neighbouring indices, fewer at the ends", _KS),
}

COLUMNS: dict[str, dict[str, Column]] = {"matrices": MATRICES, "spectra": SPECTRA}

_CONTROLS = {
    "control_gaussian_": "a Gaussian matrix of the same shape and sigma",
    "control_permutation_": "a permutation of the entries",
    "control_": "the random control (the Gaussian one where there are two)",
}


def describe(table: str, column: str) -> Column:
    """The entry of a column of `table`, with or without a control's prefix.

    Args:
      table: "matrices" or "spectra".
      column: a column's name. `control_x` is x of the random control, `control_permutation_x` that of the
        second one; both go down the same path as the matrix itself.

    Raises:
      KeyError: if the column has no entry.
    """
    for prefix, control in _CONTROLS.items():
        if column.startswith(prefix):
            entry = COLUMNS[table][column.removeprefix(prefix)]
            return entry._replace(formula=f"{entry.formula}; of {control}")
    return COLUMNS[table][column]
