"""Editing: singular directions scaled or removed, and what that does."""

from eigensweep.engine.studies.editing.options import EditOptions
from eigensweep.engine.studies.editing.study import Asked, Edited, run_edit, specificity

__all__ = ["Asked", "EditOptions", "Edited", "run_edit", "specificity"]
