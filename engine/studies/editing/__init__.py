"""Editing: singular directions scaled or removed, and what that does."""

from eigensweep.engine.studies.editing.options import EditOptions
from eigensweep.engine.studies.editing.study import Edited, EditRequest, run_edit, specificity

__all__ = ["EditOptions", "EditRequest", "Edited", "run_edit", "specificity"]
