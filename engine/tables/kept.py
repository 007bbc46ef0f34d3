"""The columns of the few singular vectors whose entries a sweep keeps, as histograms: spectra.parquet, lists."""

from eigensweep.engine.tables.columns import INDICES, Column

_KS = "Thamm, Staats & Rosenow 2022"
BINS = 64  # between the ends
END = 4.0  # of the histogram, in standard deviations of a random unit vector's entries


def _columns(side: str, vector: str, length: str) -> dict[str, Column]:
    return {
        f"kept_{side}": Column(
            INDICES,
            "",
            f"index, from 0, of every {vector} whose entries are kept, ascending: the first two, the last two and the "
            f"two with the largest ks_{side}, of those that have a p_{side} (where none has, of the first hard_rank)",
            _KS,
        ),
        f"kept_{side}_counts": Column(
            INDICES,
            "",
            f"{BINS + 2} counts for each of kept_{side}, one after another: its entries x, turned so that the largest "
            f"is positive, with sqrt({length}) x below {-END:g}, in {BINS} bins of {2 * END / BINS:g} from there, each "
            f"with its lower end, and from {END:g} on",
            _KS,
        ),
    }


KEPT: dict[str, Column] = _columns("right", "v_i", "n") | _columns("left", "u_i", "m")
"""What a sweep keeps of a matrix as it is where a reading needs its vectors; empty lists of a streamed matrix."""
