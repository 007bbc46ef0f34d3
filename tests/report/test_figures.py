"""Figures hold what the tables say: checked through their artists' data."""

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from eigensweep.engine.report import spectrum, style
from eigensweep.engine.spectral import ks
from eigensweep.engine.studies.sweep import figure_heatmaps, figure_pvalues, figure_ranks, figure_spectra


@pytest.fixture(scope="module")
def groups(run):
    return spectrum.by_role(run)


@pytest.fixture(autouse=True)
def _style():
    with style.context():
        yield


def reference_law(x, m, n):
    """Marchenko-Pastur density of s/(sigma sqrt(max(m, n))), straight from the formula."""
    a, b = max(m, n), min(m, n)
    low, high = 1 - math.sqrt(b / a), 1 + math.sqrt(b / a)
    return a / b / (math.pi * x) * np.sqrt(np.maximum((high**2 - x**2) * (x**2 - low**2), 0))


def texts(figure):
    return [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_groups_are_in_order_and_in_the_laws_unit(run, groups):
    assert list(groups) == ["embedding", "query", "key", "value", "attention_output", "mlp_up", "mlp_down"]
    assert [s.block for s in groups["query"]] == [0, 1, 2]
    row = run.matrices.set_index("name").loc["block.1.mlp_up.weight"]
    values = run.spectra.set_index("name").loc["block.1.mlp_up.weight", "singular_values"]
    found = groups["mlp_up"][1]
    np.testing.assert_allclose(found.values, values / (row["sigma"] * math.sqrt(96)), rtol=1e-12)
    np.testing.assert_allclose(np.array(found.edges) * found.unit, [row["nu_minus"], row["nu_plus"]], rtol=1e-12)


@pytest.mark.parametrize("shape", [(48, 48), (96, 48), (48, 96)])
def test_law_is_the_density(shape):
    x, density = spectrum.law(*shape)
    inside = slice(1, -1)
    np.testing.assert_allclose(density[inside], reference_law(x[inside], *shape), rtol=1e-6, atol=1e-7)
    assert np.trapezoid(density, x) == pytest.approx(1, abs=2e-3)


def test_law_of_several_shapes_is_a_mixture(groups):
    members = [replace(groups[role][0], right=0, left=0) for role in ("query", "mlp_up")]
    x, density = spectrum.mean_law(members)
    expected = (reference_law(x, 48, 48) * (x <= 2) + reference_law(np.maximum(x, 1e-9), 96, 48)) / 2
    middle = (x > 0.35) & (x < 1.65)
    np.testing.assert_allclose(density[middle], expected[middle], atol=2e-3)


def test_histogram_integrates_to_the_share_within_the_bins(groups):
    for members in groups.values():
        bins = spectrum.bins_of(members)
        density = spectrum.mean_density(members, bins)
        share = np.mean([np.mean(s.values <= bins[-1]) for s in members])
        assert np.sum(density * np.diff(bins)) == pytest.approx(share)
    assert share == 1  # mlp_down holds no spikes: everything is on the axis


def test_spectrum_draws_histogram_control_law_and_edges(groups):
    members = groups["mlp_up"]
    axes = figure_spectra.draw("mlp_up", members).axes[0]
    stairs = {p.get_label(): p.get_data() for p in axes.patches if not p.get_label().startswith("_")}
    bins = spectrum.bins_of(members)
    np.testing.assert_allclose(stairs["trained"].values, spectrum.mean_density(members, bins))
    controls = spectrum.mean_density([s.control for s in members], bins)
    np.testing.assert_allclose(stairs["random control"].values, controls)
    curve = next(line for line in axes.lines if str(line.get_label()).startswith("Marchenko–Pastur"))
    x, y = curve.get_data()
    assert {(s.right, s.left) for s in members} == {(1, 0)}
    unit = math.sqrt(95 / 96)  # the bulk beside the spike is that of noise of 95 x 47 and holds 47 of 48 values
    np.testing.assert_allclose(y[1:-1], 47 / 48 * reference_law(x[1:-1] / unit, 95, 47) / unit, rtol=1e-6, atol=1e-7)
    upright = sorted(line.get_xdata()[0] for line in axes.lines if line is not curve)
    np.testing.assert_allclose(upright, [1 - math.sqrt(0.5), 1 + math.sqrt(0.5)])


def test_a_low_rank_is_measured_in_the_entries_sigma(make_run):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 30)) + 1e-9 * rng.standard_normal((40, 30))
    run = make_run([("delta", "query", 0, w)])
    run.matrices["hard_rank"] = 3
    (found,) = spectrum.by_role(run)["query"]
    assert run.matrices["sigma"][0] < 1e-8  # that of the rounding
    assert found.unit == pytest.approx(w.std() * math.sqrt(40), rel=0.02)
    np.testing.assert_allclose(found.values[:3] * found.unit, np.linalg.svd(w, compute_uv=False)[:3])
    assert not found.values[3:].any()
    assert "numerical rank 3" in figure_spectra.title("query", [found])[1]


def test_strips_colour_exactly_the_outliers(groups):
    members = groups["query"]
    figure = figure_spectra.draw("query", members)
    right = figure.axes[2]
    coloured = [c for c in right.collections if np.allclose(c.get_color(), to_rgba(style.TRAINED))]
    drawn = np.sort([path.vertices[0, 0] for c in coloured for path in c.get_paths()])
    expected = np.sort(np.concatenate([s.values[: s.right] for s in members]))
    assert expected.size >= 9
    np.testing.assert_allclose(drawn, expected)
    assert any(t.startswith(f"{expected.size} above ν+") for t in texts(figure))


def test_titles_are_computed_from_the_table(run, groups):
    table = run.matrices[run.matrices["role"] == "query"]
    seen, note = figure_spectra.title("query", groups["query"])
    right = table["num_right_outliers"].median()
    assert seen.startswith(f"query: {right:g} of 48 singular values beyond the right edge, ")
    assert "median over 3 matrices" in note
    assert "random control: 0 and 0" in note
    seen, note = figure_pvalues.title("query", groups["query"], 0.01)
    counts = [table[f"rejected_{side}"].sum() for side in ("right", "left")]
    assert seen.startswith(f"query: {counts[0]} of 144 right, {counts[1]} of 144 left vectors have entries")
    assert "at 0.01 in each" in note
    assert seen in texts(figure_pvalues.draw("query", groups["query"], 0.01))


def test_p_values_draw_every_matrix_mean_control_and_band(groups):
    members = groups["key"]
    axes = figure_pvalues.draw("key", members, 0.01).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["trained, mean of 3"], np.mean([s.p_right for s in members], axis=0))
    np.testing.assert_allclose(lines["random control"], np.mean([s.control.p_right for s in members], axis=0))
    singles = [y for label, y in lines.items() if label.startswith("_")]
    assert {tuple(y) for y in singles} == {tuple(s.p_right) for s in members}
    one, mean = axes.collections
    assert (one.get_label(), mean.get_label()) == ("null ± 1 s.d., one matrix", "of the mean")
    for band, sd in ((one, ks.mean_sd(15, 48)), (mean, ks.mean_sd(15, 48) / math.sqrt(3))):
        x, y = band.get_paths()[0].vertices.T
        assert np.ptp(y[x == 24]) == pytest.approx(2 * sd)
        assert np.ptp(y[x == 1]) > 1.3 * np.ptp(y[x == 24])  # eight in the window


def test_mean_by_index_ignores_what_is_missing():
    mean = spectrum.mean_by_index([np.array([0.2, np.nan, np.nan]), np.array([0.4, 0.6])])
    np.testing.assert_allclose(mean, [0.3, 0.6, np.nan])


def test_a_crowd_is_a_band(groups):
    members = groups["key"] * 20
    axes = figure_pvalues.draw("key", members, 0.01).axes[1]
    assert [line.get_label() for line in axes.lines] == ["random control", "trained, mean of 60"]
    *_, band = axes.collections
    low, high = np.percentile([s.p_left for s in members], (10, 90), axis=0)
    vertices = band.get_paths()[0].vertices
    assert vertices[:, 1].min() == pytest.approx(low.min())
    assert vertices[:, 1].max() == pytest.approx(high.max())


def test_ranks_draw_every_matrix_against_its_rank(groups):
    figure = figure_ranks.draw(groups)
    axes = figure.axes[list(groups).index("mlp_up")]
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    for s in groups["mlp_up"]:
        assert tuple(s.values) in drawn
        assert tuple(s.control.values) in drawn
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "mlp_up" in axes.get_title(loc="left")


def test_heat_maps_hold_the_table(run):
    in_blocks = run.matrices[run.matrices["block"].notna()]
    for measure in figure_heatmaps.measures(run):
        names, blocks, values = figure_heatmaps.grid(run, measure)
        expected = in_blocks.pivot(index="role", columns="block", values=measure).astype(float)
        np.testing.assert_allclose(values, expected.loc[names, blocks].to_numpy())
    figure = figure_heatmaps.draw(run)
    images = [axes.images[0].get_array() for axes in figure.axes]
    for image, measure in zip(images, figure_heatmaps.measures(run), strict=True):
        np.testing.assert_allclose(image, figure_heatmaps.grid(run, measure)[2])
    cells = [t.get_text() for t in figure.axes[0].texts]
    assert style.number(float(images[0][0, 0])) in cells


def test_heat_map_takes_medians_of_experts_and_shows_many_blocks(make_run, make_spiked):
    rng = np.random.default_rng(0)
    w = [make_spiked(rng, 12, 8, 0) for _ in range(3)]
    run = make_run([(f"e{i}", "mlp_up", 0, x) for i, x in enumerate(w)], control="none")
    names, blocks, values = figure_heatmaps.grid(run, "stable_rank")
    assert (names, blocks) == (["mlp_up"], [0])
    assert values[0, 0] == pytest.approx(run.matrices["stable_rank"].median())
    many = make_run([(f"b{i}", "query", i, w[i % 3]) for i in range(80)], control="none")
    figure = figure_heatmaps.draw(many)
    assert figure.axes[0].images[0].get_array().shape == (1, 80)
    assert len(figure.axes) == 8  # four maps, a colour bar each


def test_names_are_no_mathematics(groups, tmp_path):
    name = r"$\alpha$_{x}^2 \frac"
    figure = figure_spectra.draw(name, groups["value"])
    assert any(name in t for t in texts(figure))
    style.save(figure, tmp_path / "figure")  # drawing it would raise were it parsed


def test_files_are_whole_and_reproducible(groups, tmp_path):
    for folder in ("a", "b"):
        png = style.save(figure_pvalues.draw("key", groups["key"], 0.01), tmp_path / folder / "key")
        assert (tmp_path / folder / "key.png").read_bytes() == png
    for suffix in ("png", "pdf"):
        first, second = ((tmp_path / folder / f"key.{suffix}").read_bytes() for folder in ("a", "b"))
        assert first == second
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["key.pdf", "key.png"]
    assert png.startswith(b"\x89PNG")
    assert (tmp_path / "a" / "key.pdf").read_bytes().startswith(b"%PDF")


def test_style_leaves_no_trace():
    import matplotlib

    assert matplotlib.rcParams["text.parse_math"] is False
    with style.context():
        pass
    matplotlib.rcParams["text.parse_math"] = True
    with style.context():
        assert matplotlib.rcParams["text.parse_math"] is False
    assert matplotlib.rcParams["text.parse_math"] is True


@pytest.mark.parametrize("low", [3e-6, 0.004, 0.21, 0.93])
@pytest.mark.parametrize("span", [1.15, 1.8, 6, 40, 3000])
def test_logarithmic_axes_have_ticks_that_can_be_read(low, span):
    axes = style.new_figure().add_subplot()
    style.log_axis(axes, "x", low, low * span)
    ticks = axes.get_xticks()
    assert 1 <= len(ticks) <= 12
    assert all(low * 0.99 <= t <= low * span * 1.01 for t in ticks)


def test_slugs_are_safe_and_distinct():
    names = ["query", "Query", "../../x", "..\\..\\x", "", "$\\alpha$", "日本", "x" * 500]
    found = style.slugs(names)
    assert len({s.lower() for s in found.values()}) == len(names)
    assert all(
        set(s) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for s in found.values()
    )
    assert max(map(len, found.values())) <= 63


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.124, "12 %"), (0.0078, "0.78 %"), (0.0, "0 %"), (math.nan, "–")]
)
def test_percent(share, text):
    assert style.percent(share) == text
