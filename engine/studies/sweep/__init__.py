"""The sweep: every weight matrix against random matrix theory."""
