"""Checkpoints made to hang, crash, exhaust or deceive: refused in one line that names the file, or read safely."""

import json
import os
import socket
import struct
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep.engine import SweepOptions, sweep
from eigensweep.models import CheckpointError, convert, open_checkpoint
from eigensweep.models.errors import printable, shown
from eigensweep.models.roles import guess_role

LLAMA = {
    "model_type": "llama", "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
    "vocab_size": 8,
}  # fmt: skip


def entry(begin=0, end=24, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def write(folder, header, size=24, config=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    if config is not None:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def many(folder, names, config=None):
    """A file with a 2 x 3 matrix of zeros under each name."""
    header = {name: entry(24 * i, 24 * i + 24) for i, name in enumerate(names)}
    return write(folder, header, 24 * len(header), config)


def refusal(source):
    """The message: one line, printable, not long."""
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(source)
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message


class TestFiles:
    """Only regular files are opened, whatever the name; whoever waits for a FIFO waits for ever."""

    FILES = ("model.safetensors", "config.json", "model.safetensors.index.json", "pytorch_model.bin")

    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("kind", ["FIFO", "socket", "folder", "device"])
    def test_something_else_under_a_files_name(self, tmp_path, kind, file):
        if file == "config.json":
            write(tmp_path, {"w": entry()})
        path = tmp_path / file
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            os.chdir(tmp_path)  # a socket's path is short
            socket.socket(socket.AF_UNIX).bind(file)
        assert f"{file}: a regular file was expected, this is a {kind}" in refusal(tmp_path)

    @pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
    def test_an_adapters_files(self, tmp_path, file):
        (tmp_path / "adapter_config.json").write_text("{}")
        save_file({"w": np.ones((2, 3), np.float32)}, tmp_path / "adapter_model.safetensors")
        (tmp_path / file).unlink(missing_ok=True)
        os.mkfifo(tmp_path / file)
        assert f"{file}: a regular file was expected, this is a FIFO" in refusal(tmp_path)

    def test_a_fifo_given_itself_or_as_a_shard(self, tmp_path):
        os.mkfifo(tmp_path / "x.safetensors")
        assert "this is a FIFO" in refusal(tmp_path / "x.safetensors")
        (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "x.safetensors"}}')
        assert "this is a FIFO" in refusal(tmp_path)

    @pytest.mark.parametrize(
        "name", ["a" * 256, "b/" * 3000 + "c", "é" * 128, "\ud800", "\x1b[31m", "./s", "b//s", "s/."]
    )
    def test_names_that_no_shard_has(self, tmp_path, name):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
        assert "is no file name" in refusal(tmp_path)

    @pytest.mark.parametrize("path", ["x" * 300, "~nobody-of-this-name/x", "a\0b"])
    def test_paths_that_no_file_has(self, path):
        assert "no such file or folder" in refusal(path)


class TestHeaders:
    @pytest.mark.parametrize("shape", [[0, 10**30], [10**12, 0, 10**12], [1] * 65, [2**62, 0, 4]])
    def test_shapes_that_no_array_has(self, tmp_path, shape):
        write(tmp_path, {"w": entry(0, 4 * (len(shape) > 60), shape)}, 4 * (len(shape) > 60))
        assert "model.safetensors: tensor 'w': no array has the shape" in refusal(tmp_path)

    @pytest.mark.parametrize("shape", [[True, 6], [2.0, 3], [-2, -3], ["2", 3], "23", None, {"0": 2}, [[2], 3], 10**50])
    def test_shapes_that_are_none(self, tmp_path, shape):
        assert "'w': shape" in refusal(write(tmp_path, {"w": {**entry(), "shape": shape}}))

    @pytest.mark.parametrize("offsets", [[0, 10**50], [-24, 0], [True, 25], [0.0, 24], [0], [24, 0], ["0", 24]])
    def test_offsets_that_are_none(self, tmp_path, offsets):
        assert "'w': " in refusal(write(tmp_path, {"w": {**entry(), "data_offsets": offsets}}))

    @pytest.mark.parametrize(("shape", "reason"), [([10**12, 0, 5], "an empty stack"), ([20_000, 1], None)])
    def test_empty_stacks_are_named_and_not_counted_out(self, tmp_path, shape, reason):
        size = 4 * int(np.prod(shape, dtype=float))
        checkpoint = open_checkpoint(write(tmp_path, {"w": entry(0, size, shape)}, size))
        assert [s.reason for s in checkpoint.skipped] == ([reason] if reason else [])

    def test_a_stack_of_more_matrices_than_any_model_has_experts(self, tmp_path):
        checkpoint = open_checkpoint(write(tmp_path, {"w": entry(0, 80_008, [10_001, 2, 2], "F16")}, 80_008))
        assert "10001 matrices" in checkpoint.skipped[0].reason

    def test_types_of_less_than_a_byte_are_left_out_by_name(self, tmp_path):
        header = {
            "a.weight": entry(0, 24), "b.weight": entry(24, 32, (4, 4), "F4"),
            "c.weight": entry(32, 44, (4, 4), "F6_E2M3"), "d.weight": entry(44, 56, (4, 4), "F6_E3M2"),
            "e": entry(56, 60, (4,), "F8_E8M0"),
        }  # fmt: skip
        checkpoint = open_checkpoint(write(tmp_path, header, 60))
        assert [m.name for m in checkpoint.matrices] == ["a.weight"]
        dtypes = {s.name: s.dtype for s in checkpoint.skipped}
        assert dtypes == {
            "b.weight": "float4_e2m1fn", "c.weight": "float6_e2m3fn", "d.weight": "float6_e3m2fn",
            "e": "float8_e8m0fnu",
        }  # fmt: skip
        assert "takes 7.5 bytes" in refusal(write(tmp_path, {"b": entry(0, 7, (3, 5), "F4")}, 7))

    def test_a_tensor_named_like_a_slice_of_another(self, tmp_path):
        header = {"x": entry(0, 48, (2, 2, 3)), "x[0]": entry(48, 72)}
        assert "tensors x and x[0] would both give a matrix x[0]" in refusal(write(tmp_path, header, 72))

    def test_the_same_name_twice_among_many_is_found_at_once(self, tmp_path):
        names = [f'"w{i}": 0' for i in range(100_000)]
        start = time.process_time()
        assert "names 'w99999' twice" in refusal(write(tmp_path, f"{{{', '.join(names)}, {names[-1]}}}".encode()))
        assert time.process_time() - start < 10  # counting each took minutes


class TestNames:
    BAD = "a\0\n\x1b[31mred\u202e\ud800.q_proj.weight"
    SAFE = r"a\x00\n\x1b[31mred\u202e\ud800.q_proj.weight"

    def test_printable(self):
        assert printable(self.BAD) == self.SAFE == printable(self.SAFE)
        assert printable("Gewichte/größe.ß") == "Gewichte/größe.ß"
        assert len(shown("x" * 10**6)) == 200
        assert shown("\ud800") == r"'\ud800'"

    def test_through_the_whole_sweep(self, tmp_path):
        write(tmp_path, {self.BAD: entry(0, 24), self.BAD + "s": entry(24, 32, (2,))}, 32)
        checkpoint = open_checkpoint(tmp_path)
        run = sweep(checkpoint, SweepOptions(min_dim=1, num_flips=0, equalise=False, control="none"), tmp_path / "run")
        assert list(run.matrices["name"]) == [self.SAFE]
        assert run.manifest["skipped"][0]["name"] == self.SAFE + "s"
        assert checkpoint.matrices[0].read().shape == (2, 3)
        assert open_checkpoint(convert(checkpoint, tmp_path / "out").directory).matrices[0].name == self.SAFE

    def test_two_names_that_print_alike(self, tmp_path):
        header = {"a\n.weight": entry(0, 24), "a\\n.weight": entry(24, 48)}
        assert "two tensors have the name" in refusal(write(tmp_path, header, 48))

    @pytest.mark.parametrize("config", [None, LLAMA])
    def test_numbers_that_are_no_blocks(self, tmp_path, config):
        (matrix,) = open_checkpoint(many(tmp_path, [f"model.layers.{10**30}.self_attn.q_proj.weight"], config)).matrices
        assert matrix.block is None
        assert "a name of" in refusal(many(tmp_path, [f"model.layers.{'9' * 4400}.self_attn.q_proj.weight"], config))

    def test_guessing_from_any_name(self):
        assert guess_role(f"layers.{'9' * 5000}.q_proj.weight") == ("query", None, None)
        assert guess_role("layers.3.experts.4.q_proj.weight") == ("query", 3, 4)


class TestMany:
    """What once took minutes; the limits leave room for a busy machine."""

    @pytest.mark.parametrize(
        ("name", "config"),
        [
            ("model.layers.{}.self_attn.q_proj.weight", None),
            ("x{}.embed_tokens.weight", None),
            ("layers.{0}.x{0}", LLAMA),
        ],
    )
    def test_tensors(self, tmp_path, name, config):
        seconds = []
        for count in (1000, 4000):
            many(tmp_path, [name.format(i) for i in range(count)], config)
            start = time.process_time()
            checkpoint = open_checkpoint(tmp_path)
            seconds.append(time.process_time() - start)
            assert len(checkpoint.matrices) + len(checkpoint.skipped) == count
        assert seconds[1] < 8 * seconds[0] + 0.5  # four times as many; in squares it would be sixteen

    def test_aliases(self, tmp_path):
        names = {f"{i}.lm_head.weight": "embed_tokens.weight" for i in range(8000)}
        save_file({"embed_tokens.weight": np.ones((8, 8), np.float32)}, tmp_path / "x.safetensors", metadata=names)
        start = time.process_time()
        (matrix,) = open_checkpoint(tmp_path / "x.safetensors").matrices
        assert len(matrix.tied) == 8000
        assert time.process_time() - start < 20

    def test_blocks_of_experts_that_only_the_config_has(self, tmp_path):
        config = {**LLAMA, "model_type": "mixtral", "num_hidden_layers": 10_000, "num_local_experts": 10_000}
        assert "config.json: 10000 blocks of 10000 experts" in refusal(many(tmp_path, ["w"], config))
        config |= {"num_local_experts": 10_001}
        assert "config.json: num_local_experts is 10001" in refusal(many(tmp_path, ["w"], config))


class TestJson:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"hidden_size": ' + "9" * 400 + "}", "a number of 400 digits"),
            ('{"x": ' + "9" * 5000 + "}", "a number of 5000 digits"),
            ('{"a":' * 200 + "1" + "}" * 200, "nested too deeply"),
            ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
            ('{"model_type": "gpt2", "model_type": "llama"}', "names 'model_type' twice"),
            ('{"\\ud800": 1, "\\ud800": 2}', r"names '\ud800' twice"),
            ("", "not JSON"),
        ],
    )
    @pytest.mark.parametrize("file", ["config.json", "adapter_config.json", "model.safetensors.index.json"])
    def test_what_is_refused(self, tmp_path, file, text, reason):
        if file != "model.safetensors.index.json":
            name = "adapter_model" if file.startswith("adapter") else "model"
            save_file({"w": np.ones((2, 3), np.float32)}, tmp_path / f"{name}.safetensors")
        (tmp_path / file).write_text(text)
        message = refusal(tmp_path)
        assert file in message
        assert reason in message

    @pytest.mark.parametrize("raw", [b"\xff", b'{"a": "\xff"}', "{}".encode("utf-16")])
    def test_bytes_that_are_no_utf_8(self, tmp_path, raw):
        write(tmp_path, {"w": entry()})
        (tmp_path / "config.json").write_bytes(raw)
        assert "config.json: not JSON" in refusal(tmp_path)

    def test_a_mark_of_the_byte_order_is_passed_over(self, tmp_path):
        many(tmp_path, ["model.embed_tokens.weight"], "\ufeff" + json.dumps(LLAMA))
        assert open_checkpoint(tmp_path).architecture == "llama"

    @pytest.mark.parametrize(
        "value", [7, [1], {"a": 1}, "x", True, float("nan"), float("inf"), 10**99, -1, 0, ["\x1b[31m"]]
    )
    @pytest.mark.parametrize(
        "key", ["architectures", "hidden_size", "num_hidden_layers", "quantization_config", "model_type"]
    )
    def test_values_of_another_kind(self, tmp_path, key, value):
        many(tmp_path, ["model.embed_tokens.weight", "lm_head.weight"], {**LLAMA, key: value})
        try:
            said = open_checkpoint(tmp_path).warnings
        except CheckpointError:
            said = (refusal(tmp_path),)
            assert "config.json" in said[0]
        assert all(text.isprintable() and len(text) < 1000 for text in said)


class TestAdapters:
    def adapter(self, folder, module="model.layers.0.self_attn.q_proj", **config):
        a, b = np.ones((2, 8), np.float32), np.ones((8, 2), np.float32)
        names = [f"base_model.model.{module}.lora_{factor}.weight" for factor in "AB"]
        save_file(dict(zip(names, (a, b), strict=True)), folder / "adapter_model.safetensors")
        text = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, **config})
        (folder / "adapter_config.json").write_text(text)
        return folder

    @pytest.mark.parametrize("pattern", ["(.*)*x", "(a+)+b", "(a|a)*c", ".*.*.*.*.*.*.*.*=", "((a*)*)*b"])
    @pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern"])
    def test_patterns_that_never_end(self, tmp_path, key, pattern):
        start = time.process_time()
        self.adapter(tmp_path, "a" * 200, **{key: {pattern: 2}})
        try:
            said = open_checkpoint(tmp_path).matrices[0].name
        except CheckpointError as e:
            said = str(e)
        assert f"{'a' * 200}.weight:delta" in said or "adapter_config.json" in said
        assert time.process_time() - start < 20

    @pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 500 + ")" * 500, "[", "a{1000}{1000}{1000}"])
    def test_patterns_that_crash(self, tmp_path, pattern):
        assert "adapter_config.json" in refusal(self.adapter(tmp_path, rank_pattern={pattern: 2}))

    @pytest.mark.parametrize("value", [10**400, 10**99, float("nan"), float("inf"), "2", None, [2], True, 0, -2])
    @pytest.mark.parametrize("key", ["r", "lora_alpha"])
    def test_numbers(self, tmp_path, key, value):
        self.adapter(tmp_path, **{key: value})
        if key == "lora_alpha" and value in (0, -2, 10**99) and value is not True:
            assert open_checkpoint(tmp_path).matrices[0].read().shape == (8, 8)
        else:
            assert "adapter_config.json" in refusal(tmp_path)


class TestTorchFiles:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda t: t.empty(3, 3, device="meta"), "without data"),
            (lambda t: t.zeros(3, 3, dtype=t.complex64).conj().imag, "negated"),
            (lambda t: t.zeros(3, 3, dtype=t.complex64).conj(), "conjugated"),
            (lambda t: t.zeros(1).expand(10**6, 10**6), "entries overlap"),
            (lambda t: t.zeros(10).as_strided((5, 5), (1, 1)), "entries overlap"),
            (lambda t: t.eye(3).to_sparse(), "torch.sparse_coo"),
            (lambda t: t.eye(3).to_sparse_csr(), "torch.sparse_csr"),
            (lambda t: t.quantize_per_tensor(t.ones(3, 3), 0.1, 0, t.qint8), "is quantized"),
        ],
    )
    def test_tensors_that_are_no_plain_arrays(self, torch, tmp_path, make, reason):
        torch.save({"w": make(torch)}, tmp_path / "pytorch_model.bin")
        message = refusal(tmp_path)
        assert "pytorch_model.bin: 'w'" in message
        assert reason in message

    def test_strided_tensors_are_read(self, torch, tmp_path):
        w = torch.arange(24.0).reshape(4, 6)
        torch.save({"turned": w.T, "every.other": w[:, ::2], "one": w[:1].expand(1, 6)}, tmp_path / "pytorch_model.bin")
        read = {m.name: m.read() for m in open_checkpoint(tmp_path).matrices}
        np.testing.assert_array_equal(read["turned"], w.T)
        np.testing.assert_array_equal(read["every.other"], w[:, ::2])

    def test_a_zip_file_of_several_disks_or_compressed(self, torch, tmp_path):
        path = tmp_path / "pytorch_model.bin"
        torch.save({"w": torch.ones(3, 3)}, path)
        raw = bytearray(path.read_bytes())
        at = raw.rfind(b"PK\x06\x07")
        raw[at + 16 : at + 20] = struct.pack("<I", 2)
        path.write_bytes(raw)
        assert "pytorch_model.bin: a broken zip file" in refusal(tmp_path)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10**6))
        assert "compressed or overlap" in refusal(tmp_path)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_torchs_advice_is_not_passed_on(self, torch, tmp_path, zipped):
        trap = type("Trap", (), {"__reduce__": lambda self: (os.system, (f"touch {tmp_path}/sprung",))})
        torch.save({"w": trap()}, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        message = refusal(tmp_path)
        assert "weights_only" not in message
        assert "trust" not in message
        assert "asks for posix.system" in message
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(("version", "refused"), [("2.9.1", True), ("1.13.0+cpu", True), ("2.10.0", False)])
    def test_an_older_torch_reads_no_pickles(self, torch, tmp_path, monkeypatch, version, refused):
        torch.save({"w": torch.ones(3, 3)}, tmp_path / "pytorch_model.bin")
        monkeypatch.setattr(torch, "__version__", version)
        if refused:
            said = f"torch 2.10 or newer, in which no file can execute anything; installed is {version}"
            assert said in refusal(tmp_path)
        else:
            assert len(open_checkpoint(tmp_path).matrices) == 1


def test_a_given_config_takes_the_place_of_the_folders(tmp_path):
    many(tmp_path, ["model.embed_tokens.weight"])
    assert open_checkpoint(tmp_path).architecture == "generic"
    given = open_checkpoint(tmp_path, config=LLAMA)
    assert (given.architecture, given.config) == ("llama", LLAMA)
    assert not any("unknown" in text for text in given.warnings)
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "model_type": "mistral"}))
    assert open_checkpoint(tmp_path).architecture == "mistral"
    assert open_checkpoint(tmp_path, config=LLAMA).identity == given.identity  # its own config is not read
    hashes = {
        open_checkpoint(tmp_path, config=config).identity["sha256"] for config in (None, LLAMA, {**LLAMA, "x": 1})
    }
    assert len(hashes) == 3
