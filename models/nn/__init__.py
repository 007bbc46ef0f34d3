"""Forward passes: Flax NNX modules as pure, jit-compiled functions of the canonical tree of parameters."""

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.assemble import add_heads, build, heads_of, params_of
from eigensweep.models.nn.centred import rms_model, rms_parameters, rms_reader
from eigensweep.models.nn.classifier import with_classifier
from eigensweep.models.nn.configs import architecture, families
from eigensweep.models.nn.devices import DeviceMemoryError, make_mesh, shard_batch, shardings, with_memory_advice
from eigensweep.models.nn.evaluate import (
    Scores,
    Visit,
    perplexity,
    row_losses,
    score,
    stream,
    stream_score,
    with_guide_weights,
)
from eigensweep.models.nn.heads import Output
from eigensweep.models.nn.intervention import Intervention
from eigensweep.models.nn.load import load, model_of, part_keys, reader, reader_of
from eigensweep.models.nn.losses import score_logits
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.modules import Transformer
from eigensweep.models.nn.norms import TAPS as NORM_TAPS
from eigensweep.models.nn.norms import gains_reader, norm_inputs, stream_norms, with_gains
from eigensweep.models.nn.optimizer import decay_alone
from eigensweep.models.nn.parameters import check, get, place, replace, routes_of, tap_of, walk
from eigensweep.models.nn.recipe import Progress, TrainOptions
from eigensweep.models.nn.replaced import streamed_scores, variant_scores, with_matrices
from eigensweep.models.nn.sample import sample_rows
from eigensweep.models.nn.save import write_trained
from eigensweep.models.nn.taps import STREAM, TAPPED, UPDATES, kind_of
from eigensweep.models.nn.training import TrainingError, train
from eigensweep.models.nn.variants import parts_of

__all__ = [
    "NORM_TAPS", "STREAM", "TAPPED", "UPDATES", "Architecture", "DeviceMemoryError", "Intervention", "Model",
    "Output", "Progress", "Scores", "TrainOptions", "TrainingError", "Transformer", "Visit", "add_heads",
    "architecture", "build", "check", "decay_alone", "families", "gains_reader", "get", "heads_of", "kind_of",
    "load", "make_mesh", "model_of", "norm_inputs", "params_of", "part_keys", "parts_of", "perplexity", "place",
    "reader", "reader_of", "replace", "rms_model", "rms_parameters", "rms_reader", "routes_of", "row_losses",
    "sample_rows", "score", "score_logits", "shard_batch", "shardings", "stream", "stream_norms", "stream_score",
    "streamed_scores", "tap_of", "train", "variant_scores", "walk", "with_classifier", "with_gains",
    "with_guide_weights", "with_matrices", "with_memory_advice", "write_trained",
]  # fmt: skip
