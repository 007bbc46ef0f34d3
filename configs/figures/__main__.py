"""Prints the table of figures."""

from eigensweep.configs.figures import table

print(table())
