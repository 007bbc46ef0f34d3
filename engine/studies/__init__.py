"""Studies: each a slice of its own, from options to figures. Only here do the engine and the models meet."""
