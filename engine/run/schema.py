"""The columns of matrices.parquet and spectra.parquet: names and types. engine.report.columns explains them."""

import pyarrow as pa

IDENTITY = {
    "name": pa.string(),
    "role": pa.string(),
    "block": pa.int64(),
    "expert": pa.int64(),
    "m": pa.int64(),
    "n": pa.int64(),
    "dtype": pa.string(),
}
COUNTS = (
    "num_right_outliers",
    "num_left_outliers",
    "hard_rank",
    "num_pl_spikes",
    "quasi_null_count",
    "rejected_right",
    "rejected_left",
    "undetermined",
)
SCALARS = (
    "sigma",
    "sigma_entries",
    "sigma_bulk",
    "nu_minus",
    "nu_plus",
    "mp_ks",
    "num_right_outliers",
    "num_left_outliers",
    "hard_rank",
    "stable_rank",
    "entropy",
    "effective_rank",
    "participation",
    "norm",
    "spectral_norm",
    "frobenius_norm",
    "log_norm",
    "log_spectral_norm",
    "condition",
    "mp_softrank",
    "alpha",
    "xmin",
    "pl_d",
    "pl_sigma",
    "num_pl_spikes",
    "alpha_weighted",
    "log_alpha_norm",
    "quasi_null_count",
    "quasi_null_fraction",
    "mean_p_right",
    "mean_p_left",
    "rejected_right",
    "rejected_left",
    "undetermined",
    "residual",
    "orthogonality",
)
VECTORS = (
    "singular_values",
    "ks_right",
    "ks_left",
    "p_right",
    "p_left",
    "p_right_avg",
    "p_left_avg",
)


def prefixes(controls: tuple[str, ...]) -> tuple[str, ...]:
    """Column prefixes: the matrix itself, then `control_`, then `control_<kind>_` for a second control."""
    return ("", *(("control_" if i == 0 else f"control_{kind}_") for i, kind in enumerate(controls)))


def matrices_schema(controls: tuple[str, ...]) -> pa.Schema:
    """Schema of matrices.parquet for a run with these controls."""
    columns = dict(IDENTITY)
    for prefix in prefixes(controls):
        columns |= {prefix + c: pa.int64() if c in COUNTS else pa.float64() for c in SCALARS}
    return pa.schema(columns | {"strategy": pa.string(), "status": pa.string()})


def spectra_schema(controls: tuple[str, ...]) -> pa.Schema:
    """Schema of spectra.parquet for a run with these controls."""
    columns: dict[str, pa.DataType] = {"name": pa.string()}
    for prefix in prefixes(controls):
        columns |= {prefix + c: pa.list_(pa.float64()) for c in VECTORS}
    return pa.schema(columns)
