"""What a run shows of itself in a notebook: its summary, its figures, its vectors, its page."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import Spectrum, by_role, control_label, level_of, shown_control
from eigensweep.engine.spectral.svd import decompose
from eigensweep.engine.studies.compare import roles
from eigensweep.engine.studies.compare.stack import labels_of
from eigensweep.engine.studies.sweep import figure_heatmaps, figure_pvalues, figure_ranks, figure_spectra
from eigensweep.engine.studies.sweep.findings import findings
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.studies.sweep.summary import cells, headings, summary_table
from eigensweep.engine.tables.errors import RunError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_KINDS = ("spectrum", "p_values", "ranks", "map")


class Vectors(NamedTuple):
    """Singular triplets, W v = s u; float64.

    Attributes:
      u: left singular vector (m,), output space; (m, k) columns for several.
      s: singular value, a number; (k,) for several.
      v: right singular vector (n,), input space; (n, k) columns for several.
    """

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray


def vectors(run: Run, name: str, k: int | slice = 0) -> Vectors:
    """Singular vectors of one matrix, computed anew: a run keeps what tests say of them, not the vectors.

    Args:
      run: its checkpoint must still be where it was.
      name: of the matrix, as in `run.matrices`.
      k: index in the order of descending singular values, negative from the smallest on; or a slice.

    Raises:
      RunError: no such matrix in the run; the checkpoint is gone, or is another one by its hash.
      IndexError: the matrix has fewer singular values.
    """
    if name not in set(run.matrices["name"]):
        raise RunError(f"no matrix {name!r} in this run{style.near(name, run.matrices['name'])}")
    matrix = next(m for m in checkpoint_of(run).matrices if m.name == name)
    found = decompose(np.asarray(matrix.read())[None], run.manifest.get("options", {}).get("strategy", "auto"))
    u, s, v = np.asarray(found.u[0]), np.asarray(found.s[0]), np.asarray(found.vt[0]).T
    return Vectors(u[:, k], s[k], v[:, k])


def checkpoint_of(run: Run) -> Any:
    """The run's checkpoint, opened again where this process did not sweep it."""
    if run.checkpoint is not None:
        return run.checkpoint
    from eigensweep import models

    identity = run.manifest["checkpoint"]
    opened = models.open_checkpoint(identity["source"], base=identity.get("base", {}).get("source"))
    if opened.identity["sha256"] != identity["sha256"]:
        raise RunError(f"{identity['source']}: is no longer the checkpoint of this run, its content has changed")
    object.__setattr__(run, "checkpoint", opened)  # hashed once
    return opened


def plot(run: Run, role: str = "", name: str = "", kind: str = "spectrum") -> "Figure":
    """A figure for paper or notebook.

    Args:
      run: a finished sweep.
      role: of whose matrices; a heading of `run.summary()` such as "mlp_up". Not needed where `name` is given.
      name: of one matrix.
      kind: "spectrum" (with the law and both ends), "p_values" (of the vectors, by index), "ranks" (singular values
        against rank), "map" (block by role, of the whole run).

    Returns:
      A matplotlib figure, which `figure.savefig("mlp_up.pdf")` writes.

    Raises:
      RunError: no such role or matrix, or nothing to draw.
      ValueError: no such kind, or neither role nor name for one that needs it.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(_KINDS)}")
    if kind == "map" and not run.matrices["block"].notna().any():
        raise RunError("no matrix of this run lies in a block: there is no map to draw")
    with style.context():
        figure = figure_heatmaps.draw(run) if kind == "map" else _of_matrices(run, role, name, kind)
    figure._repr_png_ = lambda: style.png(figure)  # type: ignore[attr-defined]
    return figure


def _of_matrices(run: Run, role: str, name: str, kind: str) -> "Figure":
    groups = by_role(run)
    if kind == "ranks" and not (role or name):
        return figure_ranks.draw(groups)
    label, members = _members(groups, role, name)
    drawn: dict[str, Callable[[], Figure]] = {
        "spectrum": lambda: figure_spectra.draw(label, members, level_of(run), control_label(shown_control(run))),
        "p_values": lambda: figure_pvalues.draw(label, members, level_of(run), control_label(shown_control(run))),
        "ranks": lambda: figure_ranks.draw({label: members}),
    }
    return drawn[kind]()


def _members(groups: dict[str, list[Spectrum]], role: str, name: str) -> tuple[str, list[Spectrum]]:
    if name:
        found = [s for members in groups.values() for s in members if s.name == name]
        if not found:
            every = [s.name for members in groups.values() for s in members]
            raise RunError(f"no matrix {name!r} with a spectrum in this run{style.near(name, every)}")
        return style.shorten(name, 60), found
    if not role:
        raise ValueError(f"say which matrices: role={next(iter(groups), 'query')!r}, or name=...")
    if role not in groups:
        raise RunError(f"no role {role!r} with spectra in this run; there are {', '.join(groups)}")
    return role, groups[role]


def compare(runs: Sequence[Run]) -> "pd.DataFrame":
    """Sums and medians by role, a column a measure and run, in the order of `runs`.

    Raises:
      ValueError: fewer than two runs.
    """
    import pandas as pd

    if len(runs) < 2:
        raise ValueError("compare takes at least one other run")
    labels, measures = labels_of(runs), roles.measures(runs)
    parts = {text: pd.DataFrame(roles.series(runs, m), index=labels).T for m, text in measures.items()}
    table = pd.concat(parts, axis=1)
    table.index.name = "role"
    return table


def shown(run: Run) -> str:
    """The run as a notebook shows it: what was found, and the summary by role."""
    table = summary_table(run)
    source = html.escape(style.shorten(str(run.manifest.get("checkpoint", {}).get("source", "a run")), 120))
    found = "".join(f"<li title='{html.escape(f.evidence)}'>{html.escape(f.text)}</li>" for f in findings(run))
    head = _row("th", [heading for heading, _ in headings(table.columns).values()])
    body = "".join(_row("td", cells(row)) for row in table.to_dict("records"))
    return f"<p><b>{source}</b>: {len(run.matrices)} matrices</p><ul>{found}</ul><table>{head}{body}</table>"


def _row(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"


@dataclass(frozen=True)
class Page:
    """The interactive page as a notebook shows it: in a frame of its own, from memory."""

    html: str
    height: int

    @classmethod
    def of(cls, run: Run, height: int) -> "Page":
        """The page of a run."""
        from eigensweep.engine.report.write import report_html

        return cls(report_html(run), height)

    def _repr_html_(self) -> str:
        frame = html.escape(self.html, quote=True)
        look = f"width:100%;height:{self.height}px;border:0"
        return f'<iframe srcdoc="{frame}" style="{look}" sandbox="allow-scripts allow-downloads"></iframe>'
