"""The columns beside a matrix's readings: its scales, its random signs, and the equalised reading's own formulas."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, Column

_DYSON = "Landa & Kluger 2023 (Dyson equalizer)"
_FLIPS = "Hong, Sheng & Dobriban 2020 (signflip parallel analysis)"

EQUALISED = "equalised_"
"""What the columns of the equalised reading begin with."""
EQUALISED_W = (
    "W with its rows and columns brought to one scale, W_ij / sqrt(x_i y_j), x and y (see profile_rows) over their "
    "geometric means, without rows and columns of zeros"
)
"""What they are of."""
OF_EQUALISED = {
    "sigma": "the standard deviation that sets the edges: sigma_bulk, whatever the option",
    "mp_gof_p": "chance that an equalised Gaussian matrix of this K and b/a has a T as large, simulated; 3e-5 reads "
    "< 3e-5",
    "num_right_outliers": "#{s_i above the 1 - level quantile of the largest singular value of an equalised Gaussian "
    "matrix with sigma_bulk}, simulated; null for b < 8, for hard_rank < b/2 and without sigma",
    "num_left_outliers": "#{s_i below the level quantile of the smallest singular value, simulated alike}; null where "
    "the right count is",
    "p_largest": "chance that the largest singular value of an equalised Gaussian matrix is as large as s_1, by the "
    "law of equalised_num_right_outliers; from 1e-9 to 0.5, where it ends: 0.5 reads 0.5 or more; NaN where the counts "
    "are null",
    "p_smallest": "chance that the smallest singular value of an equalised Gaussian matrix is as small as s_b, by the "
    "law of equalised_num_left_outliers; from 1e-9 to 0.5, where it ends: 0.5 reads 0.5 or more; NaN where the counts "
    "are null",
}
"""Formulas of columns whose law is that of an equalised Gaussian matrix."""

PROFILE: dict[str, Column] = {
    "zero_rows": Column(COUNT, "", "rows of W that are all 0; the equalised reading is of the others"),
    "zero_columns": Column(COUNT, "", "columns of W that are all 0; the equalised reading is of the others"),
    "profile_rows": Column(
        FLOAT,
        "",
        "sd over the rows, not zero, of ln sqrt(x_i), W_ij = sqrt(x_i y_j) Z_ij: x_i = p/(1 - p) up to a factor, p = "
        "sum_k u_ik^2 s_k^2/(s_k^2 + eta^2), eta the median of s_k > 0; times the x_i of the equalised W, read alike",
        _DYSON,
    ),
    "profile_columns": Column(
        FLOAT, "", "sd over the columns, not zero, of ln sqrt(y_j), which follow from v alike", _DYSON
    ),
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
        "#{s_i above the level's quantile of the largest singular value under random signs}: those whose z, as in "
        "signs_z_right, noise exceeds with a chance below the level, as in signs_p_right",
        _FLIPS,
        "right, beyond signs",
    ),
    "num_left_outliers_beyond_signs": Column(
        COUNT,
        "",
        "#{s_i below the level's quantile of the smallest singular value under random signs}, alike by "
        "signs_z_left and signs_p_left",
        _FLIPS,
        "left, beyond signs",
    ),
    "signs_p_right": Column(
        FLOAT,
        "",
        "chance that random signs give a largest value of s_1 or more: of K + 1 draws of a gamma law of skewness "
        "0.4 the first has such a z beside the others; simulated, at least 5e-6",
        _FLIPS,
    ),
    "signs_p_left": Column(
        FLOAT,
        "",
        "chance that random signs give a smallest value of s_b or less, alike; by the law of the hard edge where the "
        "matrix that is left has one, see num_left_outliers",
        _FLIPS,
    ),
    "signs_z_right": Column(
        FLOAT,
        "",
        "(ln s_1 - mean) / (sd sqrt(1 + 1/K)), mean and sd of ln of the largest values of K flips (option num_flips): "
        "the k right and l left components that the equalised reading counts (none beyond b/2) are out of W, the "
        "rest is raised to the noise's scale, by sqrt(a b/((a - k)(b - k - l))) where all rows and columns are alike, "
        "its signs are drawn, and the components' directions projected out: k of the long side, k + l of the short one",
        _FLIPS,
    ),
    "signs_z_left": Column(
        FLOAT, "", "the same of -ln s_b; where a = b and l = 0, sd is that of Edelman's law", _FLIPS
    ),
}
