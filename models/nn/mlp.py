"""The second half of a block: an MLP, or a mixture of experts."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.context import Taps
from eigensweep.models.nn.layers import ACTIVATIONS, linear


class Mlp(nnx.Module):
    """down(act(up x)), or down(act(gate x) * up x)."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs, size: int | None = None):
        self.arch, size = arch, size or arch.mlp_dim
        if arch.gated:
            self.gate = linear(arch.width, size, arch.mlp_bias, dtype, rngs)
        self.up = linear(arch.width, size, arch.mlp_bias, dtype, rngs)
        self.down = linear(size, arch.width, arch.mlp_bias, dtype, rngs)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """The output, and what enters `down`."""
        act = ACTIVATIONS[self.arch.activation]
        inner = act(self.gate(x)) * self.up(x) if self.arch.gated else act(self.up(x))
        return self.down(inner), inner


class Experts(nnx.Module):
    """MLPs by number, as attributes "0", "1", ...: the keys of the canonical tree."""

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.number = arch.num_experts
        for expert in range(self.number):
            setattr(self, str(expert), Mlp(arch, dtype, rngs, arch.expert_dim))

    def __call__(self, x: Array, routes: Array, taps: bool) -> tuple[Array, Array | None]:
        """sum over experts e of routes_e expert_e(x), one expert after the other.

        The loop runs over a stacked copy of the experts, so that what is compiled does not grow with their number and
        the activations of one expert at a time are held.

        Args:
          x: (B, T, d).
          routes: (B, T, E), 0 where a token does not go to an expert.
          taps: whether to return what enters the experts' `down`.

        Returns:
          (B, T, d), and (E, B, T, expert_dim) or None.
        """
        split = [nnx.split(getattr(self, str(expert))) for expert in range(self.number)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(state for _, state in split))

        def step(total: Array, expert: tuple[nnx.State, Array]) -> tuple[Array, Array | None]:
            state, share = expert
            out, inner = nnx.merge(split[0][0], state)(x)
            return total + out * share[..., None].astype(out.dtype), inner if taps else None

        return jax.lax.scan(step, jnp.zeros_like(x), (stacked, jnp.moveaxis(routes, -1, 0)))


class Mixture(nnx.Module):
    """The experts_per_token best of many experts for each token, and an expert that sees all of them, if there is one.

    Shazeer et al. 2017; Jiang et al. 2024 (Mixtral); the shared expert and its gate: Qwen2-MoE.
    """

    def __init__(self, arch: Architecture, dtype: str, rngs: nnx.Rngs):
        self.arch = arch
        self.router = linear(arch.width, arch.num_experts, False, dtype, rngs)
        self.experts = Experts(arch, dtype, rngs)
        if arch.shared_dim:
            self.shared = Mlp(arch, dtype, rngs, arch.shared_dim)
            self.shared_gate = linear(arch.width, 1, False, dtype, rngs)

    def routes(self, x: Array) -> Array:
        """What each expert's output is multiplied by: (B, T, E) float32, 0 for those that are not chosen."""
        shares = jax.nn.softmax(self.router(x).astype(jnp.float32), axis=-1)
        best, which = jax.lax.top_k(shares, self.arch.experts_per_token)
        if self.arch.norm_routes:
            best = best / best.sum(-1, keepdims=True)
        chosen = jax.nn.one_hot(which, self.arch.num_experts, dtype=jnp.float32)
        return jnp.einsum("btk,btke->bte", best, chosen)

    def __call__(self, x: Array, taps: bool) -> tuple[Array, Taps]:
        routes = self.routes(x)
        out, inner = self.experts(x, routes, taps)
        found = {"moe/router/kernel": x, "moe/routes": routes}
        if inner is not None:
            for expert in range(self.arch.num_experts):
                found[f"moe/experts/{expert}/up/kernel"] = x
                found[f"moe/experts/{expert}/down/kernel"] = inner[expert]
        if self.arch.shared_dim:
            shared, inside = self.shared(x)
            out = out + jax.nn.sigmoid(self.shared_gate(x)) * shared
            found |= {"moe/shared/up/kernel": x, "moe/shared/down/kernel": inside, "moe/shared_gate/kernel": x}
        return out, found
