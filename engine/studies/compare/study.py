"""The comparison of runs: pairs of matrices, differences of their measures, how far they moved, their spreads."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from eigensweep.engine.report.style import shorten
from eigensweep.engine.run.inputs import MatrixCollection
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.run.stream import cost
from eigensweep.engine.studies.compare.columns import LAYOUT
from eigensweep.engine.studies.compare.differences import MEASURES, chosen_measures, differences, key_of_pair
from eigensweep.engine.studies.compare.matching import Matched, Pair, match
from eigensweep.engine.studies.compare.medians import pairs_of_groups
from eigensweep.engine.studies.compare.movement import Difference, moved
from eigensweep.engine.studies.compare.options import CompareOptions, roles_of
from eigensweep.engine.studies.compare.spread import spread_rows
from eigensweep.engine.studies.compare.stack import key_of, labels_of
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.check import SUMS, file_sum
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import table_bytes
from eigensweep.engine.tables.parts import Work
from eigensweep.engine.tables.result import Result, frame_of

_NUMBERS_DEPEND_ON = ("seed", "level", "sigma", "init", "strategy", "power_law", "null", "num_draws", "num_flips")
_MOST_NAMED = 6


class Comparison(Result):
    """A finished comparison."""

    layout: ClassVar = LAYOUT
    options: ClassVar[type[CompareOptions]] = CompareOptions

    def check(self, directory: Path) -> None:
        """What the manifest says of the runs is there, differences and movement are of its pairs."""
        path, key = directory / LAYOUT.manifest, ["run", "other", "pair"]
        for of, needed in (("runs", ("run", "checkpoint", "step")), ("unmatched", ())):
            entries = self.manifest.get(of)
            if not isinstance(entries, list) or not all(isinstance(x, dict) and set(needed) <= set(x) for x in entries):
                raise RunError(f"{path}: is damaged: {of}: expected a list of runs")
        if not all(isinstance(names, list) for of in self.manifest["unmatched"] for names in of.values()):
            raise RunError(f"{path}: is damaged: unmatched: expected names by run")
        if missing := {"seed", "level", "num_resamples"} - set(self.manifest["options"]):
            raise RunError(f"{path}: is damaged: options: it has no {min(missing)!r}")
        pairs = {tuple(row.values()) for row in self.tables["pairs"].select(key).to_pylist()}
        for table in ("comparison", "moved"):
            if not {tuple(row.values()) for row in self.tables[table].select(key).to_pylist()} <= pairs:
                raise RunError(f"{directory / table}.parquet: is damaged: it has pairs that pairs.parquet has not")
        if unknown := set(self.tables["comparison"]["measure"].to_pylist()) - set(MEASURES):
            raise RunError(f"{directory}/comparison.parquet: is damaged: no measure is called {min(unknown)!r}")

    comparison = frame_of("comparison", "One row a pair of matrices and measure.")
    pairs = frame_of("pairs", "One row a pair of matrices: who they are, and their spectra.")
    moved = frame_of("moved", "One row a pair of matrices whose checkpoints were at hand.")
    spread = frame_of("spread", "One row a run, role and measure.")

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs in their order: run, checkpoint, step, sha256."""
        return list(self.manifest["runs"])


open_comparison = Comparison.read


def compare(
    runs: Sequence[Run],
    options: CompareOptions | None = None,
    workdir: str | Path = "",
    *,
    checkpoints: Sequence[MatrixCollection | None] = (),
    labels: Sequence[str] | None = None,
    memory_bytes: int | None = None,
    on_progress: OnProgress = silent,
) -> Comparison:
    """Compare runs: every other with the first (or with the one before it), matrix by matrix.

    Args:
      runs: finished sweeps, in their order; one is enough where `other_roles` compares within each.
      options: see `CompareOptions`; defaults when None.
      workdir: run directory of the comparison. An unfinished one there is continued, a finished one is read back.
      checkpoints: of the runs, None where one is not at hand; without any, nothing is said of how far matrices moved.
      labels: names of the runs; by default `labels_of`.
      memory_bytes: budget for the arrays of one batch.
      on_progress: called before and after every batch.

    Raises:
      ValueError: too few runs.
      RunError: nothing matches; `workdir` holds something else, is in use, or cannot be written.
    """
    options = options or CompareOptions()
    within = bool(options.other_roles)
    if len(runs) < (1 if within else 2):
        raise ValueError(f"a comparison takes at least two runs, not {len(runs)}")
    names = list(labels or labels_of(runs))
    about = [_about(name, run) for name, run in zip(names, runs, strict=True)]
    identity = {"content": {a["run"]: a["content"] for a in about}, "options": options.to_json()}
    sources = list(checkpoints) or [None] * len(runs)
    identity["options"]["moved"] = options.moved and any(source is not None for source in sources)
    plans = [Plan(runs, names, i, j, options) for i, j in _couples(len(runs), options)]
    if not any(plan.matched.pairs for plan in plans):
        raise RunError(_nothing_matches(plans[0], options))
    warnings = [*_unlike(runs, names, options.measures), *(word for plan in plans for word in plan.warnings())]
    record = {"runs": about, "warnings": warnings, "unmatched": [plan.unmatched() for plan in plans]}
    with claimed(workdir, LAYOUT, identity, record) as work:
        if not work.done:
            units = _tables(work, plans, runs, names, options)
            if identity["options"]["moved"]:
                units += _movement(work, plans, sources, options, memory_bytes, on_progress)
            work.finish(units)
    return open_comparison(workdir)


class Plan:
    """One run against another: the pairs of their matrices."""

    def __init__(self, runs: Sequence[Run], names: Sequence[str], i: int, j: int, options: CompareOptions):
        self.first, self.second = runs[i], runs[j]
        self.places, self.names = (i, j), (names[i], names[j])
        asked = roles_of(options.roles)
        self.measures = chosen_measures(options.measures, *(run.matrices.columns for run in (runs[i], runs[j])))
        rows = [run.matrices.to_dict("records") for run in (runs[i], runs[j])]
        if options.other_roles:
            pairs = pairs_of_groups(rows[0], options.roles, options.other_roles, self.measures)
            self.matched = Matched(pairs, ([], []))
        else:
            mine, others = ([row for row in of if not asked or row["role"] in asked] for of in rows)
            self.matched = match(mine, others, _same_family(self.first, self.second))

    def key(self) -> dict[str, str]:
        """The columns run and other."""
        return dict(zip(("run", "other"), self.names, strict=True))

    def unmatched(self) -> dict[str, list[str]]:
        """The names of the matrices without a partner, by run."""
        return {name: [str(r["name"]) for r in rows] for name, rows in zip(self.names, self.matched.alone, strict=True)}

    def warnings(self) -> list[str]:
        """What the reader should know: how many found no partner, and whether any did."""
        if not self.matched.pairs:
            return [f"no matrix of {self.names[1]} matches one of {self.names[0]}: neither names nor roles agree"]
        said = []
        for name, rows in zip(self.names, self.matched.alone, strict=True):
            if rows:
                roles = sorted({str(row["role"]) for row in rows})
                more = ", …" if len(roles) > _MOST_NAMED else ""
                said.append(f"{name}: {len(rows)} matrices without a partner ({', '.join(roles[:_MOST_NAMED])}{more})")
        return said


def _couples(count: int, options: CompareOptions) -> list[tuple[int, int]]:
    if options.other_roles:
        return [(i, i) for i in range(count)]
    return [(0 if options.against == "first" else i - 1, i) for i in range(1, count)]


def _about(name: str, run: Run) -> dict[str, Any]:
    """What a manifest says of a run; `content` is a hash of what its numbers are."""
    sums = run.manifest.get(SUMS) or {table: file_sum(table_bytes(of)) for table, of in run.tables.items()}
    said = json.dumps([run.manifest.get("checkpoint", {}).get("sha256"), run.manifest.get("options"), sums])
    return {"run": name, **key_of(run), "content": hashlib.sha256(said.encode()).hexdigest()[:16]}


def _same_family(first: Run, second: Run) -> bool:
    mine, other = (run.manifest.get("checkpoint", {}).get("architecture") for run in (first, second))
    return mine == other


def _unlike(runs: Sequence[Run], names: Sequence[str], measures: Sequence[str]) -> list[str]:
    """Options and versions in which the runs differ, and readings that some have not: a line each."""
    said = []

    def differ(what: str, values: Sequence[Any]) -> None:
        if len({json.dumps(value) for value in values}) > 1:
            of = ", ".join(f"{value} in {name}" for name, value in zip(names, values, strict=True))
            said.append(shorten(f"the runs were swept with different {what}: {of}", 600))

    for key in _NUMBERS_DEPEND_ON:
        differ(key, [run.manifest.get("options", {}).get(key) for run in runs])
    differ("versions of eigensweep", [run.manifest.get("eigensweep") for run in runs])
    for reading, column in (("equalised", "equalised_sigma"), ("random signs", "signs_p_right")):
        without = [name for name, run in zip(names, runs, strict=True) if column not in run.matrices.columns]
        if 0 < len(without) < len(runs):
            said.append(f"not compared, as these runs have no such reading: {reading} ({', '.join(without)})")
    if absent := [m for m in measures if not all(m in run.matrices.columns for run in runs)]:
        said.append(shorten(f"not in every run, and compared only where it is: {', '.join(absent)}", 600))
    return said


def _nothing_matches(plan: Plan, options: CompareOptions) -> str:
    if options.other_roles:
        there = sorted(set(plan.first.matrices["role"]))
        return (
            f"no block of {plan.names[0]} has matrices of both roles={','.join(options.roles)} and "
            f"other_roles={','.join(options.other_roles)}; it has {', '.join(there)}"
        )
    roles = [", ".join(sorted(set(run.matrices["role"]))) for run in (plan.first, plan.second)]
    chosen = f" among roles={','.join(options.roles)}" if options.roles else ""
    return (
        f"nothing matches{chosen}: no matrix of {plan.names[1]} has the name or the role of one of {plan.names[0]}; "
        f"roles {roles[0]} there, {roles[1]} here"
    )


def _tables(
    work: Work, plans: Sequence[Plan], runs: Sequence[Run], names: Sequence[str], options: CompareOptions
) -> list[str]:
    """Write what the runs' tables tell, a unit a pair of runs and a unit a run; returns the units."""
    units = [f"pairs {i}" for i in range(len(plans))] + [f"spread {i}" for i in range(len(runs))]
    todo = set(work.todo(units))
    for unit, plan in zip(units[: len(plans)], plans, strict=True):
        if unit in todo:
            began, key = time.perf_counter(), plan.key()
            rows = {
                "comparison": [key | row for row in differences(plan.matched.pairs, plan.measures)],
                "pairs": [key | row for row in _pair_rows(plan)],
            }
            work.write({unit: rows}, {"total": time.perf_counter() - began})
    asked = roles_of(options.roles) + roles_of(options.other_roles)
    for i, unit in enumerate(units[len(plans) :]):
        if unit in todo:
            began = time.perf_counter()
            mine = [row for row in runs[i].matrices.to_dict("records") if not asked or row["role"] in asked]
            measures = chosen_measures(options.measures, *[runs[i].matrices.columns] * 2)
            spread = spread_rows(mine, measures, options.seed, options.num_resamples)
            rows = {"spread": [{"run": names[i]} | row for row in spread]}
            work.write({unit: rows}, {"total": time.perf_counter() - began})
    return units


def _pair_rows(plan: Plan) -> list[dict[str, Any]]:
    """Rows of the table `pairs`."""
    spectra = [
        dict(zip(t["name"], t["singular_values"], strict=True)) for t in (plan.first.spectra, plan.second.spectra)
    ]
    rows = []
    for pair in plan.matched.pairs:
        row = key_of_pair(pair) | {"matched_by": pair.by, "depth": pair.depths[0], "depth_other": pair.depths[1]}
        if pair.by != "group":
            for of, end, lists in zip((pair.first, pair.second), ("", "_other"), spectra, strict=True):
                row |= {f"{key}{end}": of.get(key) for key in ("name", "m", "n", "sigma")}
                phase = of.get("phase")
                row[f"phase{end}"] = phase if isinstance(phase, str) else None
                row[f"singular_values{end}"] = lists.get(of["name"])
        rows.append(row)
    return rows


def _movement(
    work: Work,
    plans: Sequence[Plan],
    checkpoints: Sequence[MatrixCollection | None],
    options: CompareOptions,
    memory_bytes: int | None,
    on_progress: OnProgress,
) -> list[str]:
    """Write a row a pair whose checkpoints are at hand, a unit each; returns the units."""
    sources = [source for i, plan in enumerate(plans) for source in _sources(i, plan, checkpoints)]
    todo = set(work.todo([source.unit for source in sources]))
    mine = [source for source in sources if source.unit in todo]
    total = sum(cost(source.shape) for source in sources)
    state = Progress(len(sources) - len(mine), len(sources), total - sum(cost(s.shape) for s in mine), total)
    state.phase = "differences"
    on_progress(state)
    began = time.perf_counter()
    for batch, rows in moved(mine, options, memory_bytes):
        now = time.perf_counter()
        done = {source.unit: {"moved": [row]} for source, row in zip(batch.sources, rows, strict=True)}  # type: ignore
        work.write(done, {"total": now - began})
        began = now
        state.done += len(rows)
        state.work_done += cost(batch.shape) * len(rows)
        state.what = f"{len(rows)} of {batch.shape[0]} x {batch.shape[1]}"
        on_progress(state)
    return [source.unit for source in sources]


def _sources(index: int, plan: Plan, checkpoints: Sequence[MatrixCollection | None]) -> list[Difference]:
    """The differences of the pairs of one shape in one place, as far as both checkpoints have the matrices."""
    both = [checkpoints[place] for place in plan.places]
    if any(checkpoint is None for checkpoint in both):
        return []
    first, second = ({matrix.name: matrix for matrix in c.matrices} for c in both if c is not None)
    found = []
    for pair in plan.matched.pairs:
        w, other = first.get(str(pair.first["name"])), second.get(str(pair.second["name"]))
        if w is not None and other is not None and _comparable(pair) and tuple(w.shape) == tuple(other.shape):
            found.append(Difference(f"moved {index} {w.name}", plan.key() | key_of_pair(pair), w, other))
    return found


def _comparable(pair: Pair) -> bool:
    """Whether a matrix can have moved to the other: not where another depth or a group stands for it."""
    return pair.by in ("name", "block", "role")
