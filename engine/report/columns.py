"""Every column of every table, by the stem of its file: type, unit, formula, source. The one place that defines them.

Notation: W is (m, n), y = W x; a = max(m, n), b = min(m, n); s_1 >= ... >= s_b its singular values,
lambda_i = s_i^2; v_i its right and u_i its left singular vectors; sigma the column `sigma`; ln is the natural
logarithm; [w] is the unit of the weights. Columns of a random control carry a prefix, see `describe`.
F (d, d) is the second moment of the activations x that enter a linear layer, mean x x^T over the tokens (centred:
their covariance), f_j its eigenvectors by descending eigenvalue; [x] is the unit of the activations.
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
_OVERLAP = "Staats, Thamm & Rosenow 2024"
_BOOTSTRAP = "Efron & Tibshirani 1993"
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
    "strategy": Column(_TEXT, "", "how W was decomposed: lapack, gram, polar, direct or streamed"),
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

_TAP = Column(_TEXT, "", "the linear layer whose input x is; layers that read the same x share one")
_TOKENS = Column(_COUNT, "", "vectors x in the mean: tokens; rows where a head reads one vector a row")
_AXES = Column(_COUNT, "", "r: eigenvectors that the data determine, evals_j > d eps evals_1")

OVERLAP: dict[str, Column] = {
    **{key: MATRICES[key] for key in ("name", "role", "block", "expert", "m", "n")},
    "tap": _TAP,
    "num_tokens": _TOKENS,
    "num_axes": _AXES,
    "num_overlap_right": Column(_COUNT, "", "#{s_k > nu_plus}, nu_plus of the sweep"),
    "num_overlap_left": Column(_COUNT, "", "#{s_k < nu_minus}, nu_minus of the sweep"),
    "overlap_right": Column(_FLOAT, "", "mean of O_k over s_k > nu_plus; NaN where there are none", _OVERLAP),
    "overlap_inside": Column(_FLOAT, "", "mean of O_k over nu_minus <= s_k <= nu_plus", _OVERLAP),
    "overlap_left": Column(_FLOAT, "", "mean of O_k over s_k < nu_minus", _OVERLAP),
    "overlap_null": Column(_FLOAT, "", "mean of O for a random rotation of the input space"),
    "overlap_null_99": Column(_FLOAT, "", "99 % quantile of O for a random rotation"),
    "overlap": Column(
        _LIST, "", "O_k = max_j |v_k . f_j|, j <= r; NaN beyond hard_rank, left out of the means", _OVERLAP
    ),
    "overlap_partner": Column("list<int64>", "", "the j that attains O_k, 0 for the largest eigenvalue"),
    "p_overlap": Column(_LIST, "", "P(O >= O_k) for a random rotation"),
}
COVARIANCES: dict[str, Column] = {
    "tap": _TAP,
    "block": MATRICES["block"],
    "d": Column(_COUNT, "", "entries of x"),
    "num_tokens": _TOKENS,
    "num_axes": _AXES,
    "evals": Column(_LIST, "[x]^2", "all eigenvalues of F, descending"),
}

_REMOVAL = {
    "scope": Column(_TEXT, "", "role, matrix or group that the removal is done to; empty for the baseline"),
    "removal": Column(_TEXT, "", "what goes, as `decile:10` (engine.spectral.removal); `baseline`: nothing"),
}
ABLATION: dict[str, Column] = {
    **_REMOVAL,
    "kind": Column(_TEXT, "", "decile, band, outliers, bulk or random; baseline"),
    "draw": Column(_COUNT, "", "number of the draw of a bulk or random removal, from 0"),
    "matrices": Column(_COUNT, "", "matrices of the scope"),
    "values": Column(_COUNT, "", "sum of b over them"),
    "removed": Column(_COUNT, "", "singular values, or random directions, that go"),
    "energy": Column(_FLOAT, "", "sum |W - W'|_F^2 / sum |W|_F^2 over the scope"),
    "loss": Column(_FLOAT, "nats", "sum row_weight row_loss / sum row_weight"),
    "perplexity": Column(_FLOAT, "", "exp(loss)"),
    "accuracy": Column(_FLOAT, "", "sum row_correct / sum row_count"),
    "seconds": Column(_FLOAT, "s", "of the evaluation; the baseline's where nothing is removed"),
    "change": Column(_FLOAT, "nats", "loss less the baseline's"),
    "change_low": Column(
        _FLOAT, "nats", "lower end of its bootstrap interval over rows, paired with the baseline", _BOOTSTRAP
    ),
    "change_high": Column(_FLOAT, "nats", "upper end", _BOOTSTRAP),
    "accuracy_change": Column(_FLOAT, "", "accuracy less the baseline's"),
    "accuracy_low": Column(_FLOAT, "", "lower end of its interval, as change_low", _BOOTSTRAP),
    "accuracy_high": Column(_FLOAT, "", "upper end", _BOOTSTRAP),
}
ABLATION_ROWS: dict[str, Column] = {
    **_REMOVAL,
    "row_loss": Column(_LIST, "nats", "mean loss of every row of the data over its targets"),
    "row_weight": Column(_LIST, "", "weight of the row in the mean loss"),
    "row_correct": Column(_LIST, "", "targets of the row with the largest logit"),
    "row_count": Column(_LIST, "", "targets of the row"),
}

_MEMBER = {
    "seed": Column(_COUNT, "", "of head, order of the rows and dropout"),
    "order": Column(_TEXT, "", "removed `before` or `after` fine-tuning; `none`: the baseline of the seed"),
    "scope": Column(_TEXT, "", "role, matrix or group that loses the decile; empty for the baseline"),
    "decile": Column(_COUNT, "", "1 holds the largest singular values, 10 the smallest; 0 nothing"),
}
FINETUNE: dict[str, Column] = {
    **_MEMBER,
    "num_matrices": Column(_COUNT, "", "matrices that lose values"),
    "energy": Column(_FLOAT, "", "sum |W - W'|_F^2 / sum |W|_F^2 over them"),
    "loss": Column(_FLOAT, "nats", "mean cross-entropy of the held-out rows"),
    "accuracy": Column(_FLOAT, "", "share of the held-out rows with the right class"),
    "validation_loss": Column(
        _FLOAT, "nats", "lowest of the training; null for `after`, which trains nothing"
    ),
    "best_step": Column(_COUNT, "", "steps done at that look, whose weights are measured"),
    "steps": Column(_COUNT, "", "steps of the training"),
    "seconds": Column(_FLOAT, "s", "of training, removal and measurement; since the last start"),
}
FINETUNE_ROWS: dict[str, Column] = {
    **_MEMBER,
    "row_loss": Column(_LIST, "nats", "cross-entropy of every held-out row"),
    "row_correct": Column(_LIST, "", "1 where its class is right, else 0"),
}
FINETUNE_HISTORY: dict[str, Column] = {
    **_MEMBER,
    "step": Column(_COUNT, "", "steps done at this look at the validation rows"),
    "train_loss": Column(_FLOAT, "nats", "mean cross-entropy of the batches since the last look"),
    "validation_loss": Column(_FLOAT, "nats", "mean cross-entropy of the validation rows"),
    "validation_accuracy": Column(_FLOAT, "", "share of the validation rows with the right class"),
}
FINETUNE_EFFECTS: dict[str, Column] = {
    "measure": Column(_TEXT, "", "what changes: loss (nats) or accuracy; [y] is its unit"),
    "scope": _MEMBER["scope"],
    "decile": _MEMBER["decile"],
    "order": Column(
        _TEXT, "", "before, after, or `after - before`: the change by one less that by the other"
    ),
    "change": Column(_FLOAT, "[y]", "mean over seeds and rows of y less that of the same seed's baseline"),
    "low": Column(_FLOAT, "[y]", "lower end of its 95 % bootstrap interval over rows", _BOOTSTRAP),
    "high": Column(_FLOAT, "[y]", "upper end", _BOOTSTRAP),
    "seed_low": Column(_FLOAT, "[y]", "change - t_0.975 sd(seeds) / sqrt(#seeds); -infinite for one seed"),
    "seed_high": Column(_FLOAT, "[y]", "change + the same"),
    "seeds": Column(_LIST, "[y]", "each seed's change"),
}
SPECTRAL_CHANGE: dict[str, Column] = {
    **{key: MATRICES[key] for key in ("name", "role", "block")},
    "decile": Column(_COUNT, "", "tenth of the singular values by rank, 1 the largest"),
    "change": Column(_FLOAT, "", "mean of (s' - s) / s over the decile, s' after fine-tuning"),
    "distance": Column(_FLOAT, "", "mean of |s' - s| / s over the decile"),
    "p_right": Column(_FLOAT, "", "mean of p_right over the decile, before"),
    "p_right_after": Column(_FLOAT, "", "the same after"),
    "p_left": Column(_FLOAT, "", "mean of p_left over the decile, before"),
    "p_left_after": Column(_FLOAT, "", "the same after"),
    "outliers_before": Column(_COUNT, "", "num_right_outliers of the whole matrix, before"),
    "outliers_after": Column(_COUNT, "", "the same after"),
}

COLUMNS: dict[str, dict[str, Column]] = {
    "matrices": MATRICES,
    "spectra": SPECTRA,
    "overlap": OVERLAP,
    "overlap_covariances": COVARIANCES,
    "ablation": ABLATION,
    "ablation_rows": ABLATION_ROWS,
    "finetune": FINETUNE,
    "finetune_rows": FINETUNE_ROWS,
    "finetune_history": FINETUNE_HISTORY,
    "finetune_effects": FINETUNE_EFFECTS,
    "spectral_change": SPECTRAL_CHANGE,
}
"""By the stem of the file. matrices.parquet and spectra.parquet of a removal study hold some of the sweep's columns."""

_CONTROLS = {
    "control_gaussian_": "a Gaussian matrix of the same shape and sigma",
    "control_permutation_": "a permutation of the entries",
    "control_": "the random control (the Gaussian one where there are two)",
}


def describe(table: str, column: str) -> Column:
    """The entry of a column of `table`, with or without a control's prefix.

    Args:
      table: a key of COLUMNS.
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
