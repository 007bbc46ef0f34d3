"""Arrays in, arrays out: the spectral engine. Importing it turns JAX's float64 on."""

import jax

jax.config.update("jax_enable_x64", True)
