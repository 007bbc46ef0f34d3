"""The null of the KS statistic of a random unit vector: sampling it, histograms, the shipped table and its p-values."""
