"""What torch's own modules compute, as pairs (x, y) with y = W x, by block, role and expert.

The model runs once on one token, with its biases at zero and the norms inside attention taken out. Queries, keys and
values are what reaches the attention function; gates are what reaches an activation; what a state space or a delta
rule gets, it gets after the short convolution, which is taken out too.
"""

import copy
import re
import sys

import numpy as np
import torch
import transformers

_INNER_NORMS = (
    "q_norm", "k_norm", "qk_norm", "q_layernorm", "k_layernorm", "q_a_layernorm", "kv_a_layernorm",
    "dt_layernorm", "b_layernorm", "c_layernorm",
)  # fmt: skip
_MIXERS = re.compile(r".*\.(?:self_attn|self_attention|attn|linear_attn|mixer|mamba)")
_BY_NAME = {
    r"(?:.*\.)?lm_head": "unembedding",
    r".*\.(?:self_attn|self_attention|attn)\.(?:o_proj|dense|out_proj)": "attention_output",
    r".*\.linear_attn\.out_proj": "linear_output",
    r".*\.(?:mixer|mamba)\.out_proj": "ssm_output",
    r".*\.shared_expert_gate": "other/shared_gate",
}
_ACTIVATIONS = ("act_fn", "activation_fn", "activation", "act", "gelu_impl")
_GATES = ("gate_proj", "gate_up_proj", "input_linear")
_PRODUCTS = (torch.nn.functional.linear, torch.bmm, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)


class _Products(torch.overrides.TorchFunctionMode):
    """Records every product of matrices: its two factors and the result."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in _PRODUCTS:
            self.calls.append((args[0], args[1], out))
        return out


class _Run:
    def __init__(self, model, monkeypatch):
        self.model, self.monkeypatch, self.found = model, monkeypatch, {}
        self.names = {module: name for name, module in model.named_modules()}
        self.mixer = self.x = None

    def saw(self, module, role, x, y, expert=None):
        match = re.search(r"\.(\d+)\.", self.names[module])
        key = (int(match[1]) if match else None, role, expert)
        x, y = (np.array(t.detach()).reshape(-1) for t in (x, y))  # copies: some modules add in place
        assert key not in self.found
        self.found[key] = (x, y)

    def watch(self):
        for module, name in self.names.items():
            if _MIXERS.fullmatch(name):
                module.register_forward_pre_hook(self._enter, with_kwargs=True)
            for pattern, role in _BY_NAME.items():
                if re.fullmatch(pattern, name):
                    module.register_forward_hook(lambda m, args, y, role=role: self.saw(m, role, args[0], y))
            if isinstance(module, torch.nn.Embedding):
                module.register_forward_hook(self._embedding)
            if any(isinstance(getattr(module, down, None), torch.nn.Linear) for down in _DOWNS):
                self._watch_mlp(module)
            if name.endswith(".experts"):
                module.register_forward_pre_hook(self._enter_experts)
            if re.fullmatch(r".*\.(?:gate|router)", name) and hasattr(module, "weight"):
                self._record(module, lambda m, calls: self.saw(m, "other/router", calls[0][0][:1], calls[0][2][:1]))

    def _enter(self, module, args, kwargs):
        self.mixer, self.x = module, args[0] if args else kwargs["hidden_states"]

    def _embedding(self, module, args, y):
        y = y / getattr(module, "embed_scale", 1)  # Gemma's rows come out scaled
        self.saw(module, "embedding", torch.nn.functional.one_hot(args[0], module.num_embeddings).to(y.dtype), y)

    def _record(self, module, use):
        forward = module.forward

        def recorded(*args, **kwargs):
            with _Products() as products:
                out = forward(*args, **kwargs)
            use(module, products.calls)
            return out

        module.forward = recorded

    def _watch_mlp(self, mlp):
        activation = next(getattr(mlp, name) for name in _ACTIVATIONS if hasattr(mlp, name))
        down = next(getattr(mlp, name) for name in _DOWNS if hasattr(mlp, name))
        gated = any(hasattr(mlp, name) for name in _GATES)
        alone = getattr(self.model.config, "num_local_experts", 1) == 0  # Granite's shared MLP, without experts
        prefix = "shared_mlp" if "shared_" in self.names[mlp] and not alone else "mlp"
        seen = {}
        mlp.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
        activation.register_forward_hook(lambda _, args, y: seen.update(before=args[0], after=y))

        def after_down(_, args, y):
            self.saw(mlp, f"{prefix}_gate" if gated else f"{prefix}_up", seen["x"], seen["before"])
            if gated:
                self.saw(mlp, f"{prefix}_up", seen["x"], args[0] / seen["after"])
            self.saw(mlp, f"{prefix}_down", args[0], y)

        down.register_forward_hook(after_down)

    def _enter_experts(self, experts, args):
        """Every expert alone, on the token that came first."""
        x, count = args[0][:1], len(experts.down_proj)
        seen = {}
        gate_of = getattr(experts, "act_fn", None)
        if gate_of is not None:
            hook = gate_of.register_forward_hook(lambda _, args, y: seen.update(gate=args[0], act=y))
        for expert in range(count):
            with _Products() as products:
                if type(experts).__name__.startswith("Llama4"):
                    type(experts).forward(experts, x.repeat(count, 1))
                else:
                    type(experts).forward(experts, x, torch.tensor([[expert]]), torch.ones(1, 1, dtype=x.dtype))
            hidden, _, y = products.calls[1]
            if gate_of is None:
                self._gpt_oss(experts, x, products.calls[0][2], expert)
            else:
                rows = {k: v[expert : expert + 1] if v.ndim == 3 else v for k, v in seen.items()}
                hidden, y = (t[expert : expert + 1] if t.ndim == 3 else t for t in (hidden, y))
                self.saw(experts, "mlp_gate", x, rows["gate"], expert)
                self.saw(experts, "mlp_up", x, hidden / rows["act"], expert)
            self.saw(experts, "mlp_down", hidden, y, expert)
        if gate_of is not None:
            hook.remove()

    def _gpt_oss(self, experts, x, gate_up, expert):
        """Which entries are gates, the module's own gating tells: without its gate an output is nothing."""
        gates, ups = [], []
        probe = torch.full_like(gate_up, 0.5)
        for entry in range(gate_up.shape[-1]):
            without = probe.clone()
            without[..., entry] = 0
            change = experts._apply_gate(without) - experts._apply_gate(probe)
            (output,) = change[0].nonzero()[:, 0].tolist()
            is_gate = experts._apply_gate(without)[0, output] == 0
            (gates if is_gate else ups).append((output, entry))
        for role, entries in (("mlp_gate", gates), ("mlp_up", ups)):
            self.saw(experts, role, x, gate_up[0, [entry for _, entry in sorted(entries)]], expert)

    def attention(self, module, query, key, value, *args, **kwargs):
        """In place of the attention function: (1, heads, 1, head size) each."""
        query, key, value = (t[0, :, 0] for t in (query, key, value))
        if hasattr(module, "kv_b_proj"):
            plain = module.qk_nope_head_dim
            inner = self.inner
            self.saw(module, "query", inner.get("q_b", self.x), query)
            if "q_b" in inner:
                self.saw(module, "query_latent", self.x, inner["q_b"])
            self.saw(module, "key_value_latent", self.x, inner["kv_b"])
            self.saw(module, "rotary_key", self.x, key[0, plain:])
            self.saw(module, "key", inner["kv_b"], key[:, :plain])
            self.saw(module, "value", inner["kv_b"], value)
            inner.clear()
        else:
            for role, y in (("query", query), ("key", key), ("value", value)):
                self.saw(module, role, self.x, y)
        out = value.repeat_interleave(len(query) // len(value), dim=0)[None, None]
        if getattr(module, "q_proj", None) and module.q_proj.out_features == 2 * query.numel():
            module.o_proj.register_forward_pre_hook(
                lambda _, args, x=self.x: self.saw(module, "attention_gate", x, torch.logit(args[0] / out.flatten(2)))
            )
        return out, None

    def split_by_method(self):
        """Falcon and BLOOM split their fused projections in methods of their own, MPT within its forward pass."""
        self.inner = {}
        for module, name in self.names.items():
            if hasattr(module, "kv_b_proj"):
                for part in ("q_b", "kv_b"):
                    if getattr(module, f"{part}_proj", None) is not None:
                        getattr(module, f"{part}_proj").register_forward_pre_hook(
                            lambda _, args, part=part: self.inner.update({part: args[0]})
                        )
            for method in ("_split_heads", "_reshape"):
                if hasattr(module, method):
                    setattr(module, method, self._spy_split(module, getattr(module, method)))
            if name.endswith(".attn") and hasattr(module, "Wqkv"):
                self._record(module, self._mpt)

    def _spy_split(self, module, split):
        def spied(fused):
            parts = split(fused)
            for role, y in zip(("query", "key", "value"), parts, strict=True):
                # One head of each group: the others are copies.
                y = y.reshape(-1, module.head_dim)
                groups = getattr(module, "num_kv_heads", len(y)) if role != "query" else len(y)
                self.saw(module, role, self.x, y[:: len(y) // groups])
            return parts

        return spied

    def _mpt(self, module, calls):
        (_, _, _), (query, key, _), (_, value, _) = (c for c in calls if c[1] is not module.out_proj.weight)
        for role, y in (("query", query[0, :, 0]), ("key", key[0, :, :, 0]), ("value", value[0, :, 0])):
            self.saw(module, role, self.x, y)

    def state_spaces(self):
        module = sys.modules[type(self.model).__module__]

        def patch(name, spy):
            if hasattr(module, name):
                original = getattr(module, name)
                self.monkeypatch.setattr(module, name, lambda *a, **k: spy(original, *a, **k))

        patch("causal_conv1d_fn", lambda _, hidden, *a, **k: hidden)
        patch("rms_forward", lambda _, hidden, **k: hidden)
        patch("mamba_selective_scan", self._mamba)
        patch("mamba2_chunk_scan", self._mamba2)
        patch("torch_chunk_gated_delta_rule", self._delta_rule)
        for mixer, name in self.names.items():
            if hasattr(mixer, "dt_proj"):
                self._record(mixer, self._steps)
            if re.fullmatch(r".*\.(?:mixer|mamba|linear_attn)\.norm", name):
                mixer.register_forward_pre_hook(self._gate)

    def _steps(self, mixer, calls):
        ((_, latent, step),) = (call for call in calls if call[0] is mixer.dt_proj.weight)
        self.saw(mixer, "ssm_step_latent", self.inputs, latent)
        self.saw(mixer, "ssm_step", latent, step)

    def _mamba(self, original, u, step, a, b, c, **kwargs):
        self.inputs = u
        for role, x, y in (("input", self.x, u), ("gate", self.x, kwargs["z"]), ("b", u, b), ("c", u, c)):
            self.saw(self.mixer, f"ssm_{role}", x, y)
        return original(u, step, a, b, c, **kwargs)

    def _mamba2(self, original, u, step, a, b, c, **kwargs):
        for role, y in (("input", u), ("step", step), ("b", b), ("c", c)):
            self.saw(self.mixer, f"ssm_{role}", self.x, y)
        return original(u, step, a, b, c, **kwargs)

    def _gate(self, norm, args):
        self.saw(norm, "linear_gate" if "linear_attn" in self.names[norm] else "ssm_gate", self.x, args[1])

    def _delta_rule(self, original, query, key, value, g, beta, **kwargs):
        # With A_log and dt_bias at zero, g is -softplus(decay), beta the logistic function of what is projected.
        decay, written = torch.log(torch.expm1(-g.double())), torch.logit(beta)
        parts = {"query": query, "key": key, "value": value, "decay": decay, "beta": written}
        for role, y in parts.items():
            self.saw(self.mixer, f"linear_{role}", self.x, y)
        return original(query, key, value, g=g, beta=beta, **kwargs)


_DOWNS = ("down_proj", "fc2", "dense_4h_to_h", "output_linear")


def witnesses(model, monkeypatch):
    """{(block, role, expert): (x, y)} of a copy of the model; roles without a name of their own are "other/what"."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "A_log")):
                parameter.zero_()
    for module in list(model.modules()):
        for name in _INNER_NORMS:
            if isinstance(getattr(module, name, None), torch.nn.Module):
                setattr(module, name, torch.nn.Identity())
    run = _Run(model, monkeypatch)
    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, "witness", run.attention)
    for config in (model.config, model.config.get_text_config()):
        config._attn_implementation = "eager" if hasattr(model, "transformer") else "witness"
        config._experts_implementation = "eager"
    run.split_by_method()
    run.state_spaces()
    run.watch()
    first = {"position_ids": torch.tensor([[0]])} if model.config.model_type == "paligemma" else {}  # else it is 1
    with torch.no_grad():
        model(input_ids=torch.tensor([[7]]), use_cache=False, **first)
    return run.found
