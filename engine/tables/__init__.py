"""What a run directory is: columns declared once, a claimed directory, parts, tables, and reading them back.

columns.py declares; matrices.py has the columns of a decomposed matrix; claim.py says who may work in a directory;
parts.py holds what is finished of it; result.py reads what a study left; files.py writes whole files or none.
"""
