"""What a torch module does to vectors, against the matrix that its checkpoint is read as.

A stored tensor is led back to its module by its content, not by its name, and the module is asked what it makes of
every unit vector.
"""

import math

import numpy as np
import torch
import transformers

LINEAR = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
CONVOLUTION = (torch.nn.Conv1d, torch.nn.Conv2d)


def owners(model):
    """{bytes of a parameter: (name of its module, module)}; weights are random, so each is its own."""
    found = {}
    # Of a head and the table that it is tied to, the table.
    for name, module in sorted(model.named_modules(), key=lambda item: not isinstance(item[1], torch.nn.Embedding)):
        for parameter in module.parameters(recurse=False):
            found.setdefault(parameter.detach().numpy().tobytes(), (name, module))
    return found


def applied(module):
    """The (out, in) map that a module is: its answers to unit vectors, less its answer to nothing."""
    with torch.no_grad():
        if isinstance(module, torch.nn.Embedding):
            # Tables of positions count their rows themselves, from an offset: past that, they look rows up.
            return torch.nn.Embedding.forward(module, torch.arange(module.num_embeddings)).T.numpy()
        if isinstance(module, CONVOLUTION):
            return _convolved(module)
        inputs = module.weight.shape[0 if isinstance(module, LINEAR[1]) else 1]
        return (module(torch.eye(inputs)) - module(torch.zeros(1, inputs))).T.numpy()


def _convolved(module):
    """Unit patches, put where the kernel lies over them wholly, and read where it does."""
    shape = (module.in_channels, *module.kernel_size)
    patches = torch.eye(math.prod(shape)).reshape(-1, *shape)
    places = [-(-p // s) for p, s in zip(module.padding, module.stride, strict=True)]
    starts = [i * s - p for i, s, p in zip(places, module.stride, module.padding, strict=True)]
    images = torch.zeros(len(patches), shape[0], *(start + 2 * k for start, k in zip(starts, shape[1:], strict=True)))
    window = tuple(slice(start, start + k) for start, k in zip(starts, shape[1:], strict=True))
    images[:, :, *window] = patches
    answer = (module(images) - module(torch.zeros_like(images)))[:, :, *places].T.numpy()
    if module.groups == module.in_channels > 1:  # each channel sees its own taps alone
        taps = answer.reshape(len(answer), module.in_channels, -1)
        own = np.arange(len(answer)) * module.in_channels // len(answer)
        assert not np.delete(taps, 0, axis=1)[own == 0].any()
        return taps[np.arange(len(answer)), own]
    return answer


def check(model, checkpoint, expected):
    """Every parameter of a model is accounted for; every matrix of one weight is what its module applies.

    Args:
      model: of torch, its weights random.
      checkpoint: opened from its weights.
      expected: expected(name of the torch module) is (role, tower, block) of its weight.

    Returns:
      The shares of fused weights, by (name of the module, label): to be held against the module's own split.
    """
    modules, shares, seen = owners(model), {}, set()
    leaves = {leaf.tensor.name for leaf in checkpoint.leaves}
    skipped = {entry.name: entry.reason for entry in checkpoint.skipped}
    assert checkpoint.plan.mismatches == ()
    for matrix in checkpoint.matrices:
        tensor = checkpoint.plan.cuts[matrix.name].tensor
        seen.add(tensor.name)
        name, module = modules[np.ascontiguousarray(tensor.read()).tobytes()]
        w = matrix.read()
        assert w.shape == matrix.shape
        assert not matrix.guessed, matrix.name
        if ":" in matrix.name:
            shares[name, matrix.name.rpartition(":")[2]] = matrix
            continue
        assert (matrix.role, matrix.tower, matrix.block) == expected(name), matrix.name
        if isinstance(module, (torch.nn.Embedding, *LINEAR, *CONVOLUTION)):
            np.testing.assert_allclose(w, applied(module), atol=1e-5, err_msg=matrix.name)
        else:  # a bare table of vectors that are added, one a row
            np.testing.assert_array_equal(w, tensor.read().reshape(-1, w.shape[0]).T)
    stored = checkpoint.source.tensors
    assert set(stored) <= leaves | set(skipped) | set(checkpoint.plan.cuts)
    assert set(stored) <= seen | set(skipped)
    numbers = {parameter.detach().numpy().tobytes() for parameter in model.parameters()}
    kept = {np.ascontiguousarray(leaf.tensor.read()).tobytes() for leaf in checkpoint.leaves}
    assert numbers <= kept, "a parameter is no leaf"
    return shares
