"""Reading a trace: what counts as work of a device, and how overlapping operations add up."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from eigensweep.engine.run import profile


def write(folder, events, name="host"):
    place = folder / "plugins" / "profile" / "2026_01_01"
    place.mkdir(parents=True, exist_ok=True)
    with gzip.open(place / f"{name}.trace.json.gz", "wt") as file:
        json.dump({"traceEvents": events}, file)


def named(pid, process, tid, thread):
    return [
        {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": process}},
        {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": thread}},
    ]


def ran(pid, tid, name, start, length, **args):
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": start * 1e6, "dur": length * 1e6, "args": args}


def test_streams_of_a_gpu_are_its_work_and_nothing_is_counted_twice(tmp_path):
    events = [
        *named(1, "/device:GPU:0", 14, "Stream #14(Compute)"),
        *named(1, "/device:GPU:0", 15, "Stream #15(MemcpyH2D)"),
        *named(1, "/device:GPU:0", 20, "XLA Ops"),  # made from the streams
        *named(9, "/host:CPU", 3, "python"),
        ran(1, 14, "gemm_kernel", 0, 2, hlo_op="dot.1"),
        ran(1, 14, "gemm_kernel", 3, 1, hlo_op="dot.1"),
        ran(1, 15, "MemcpyH2D", 1, 1.5),
        ran(1, 20, "dot.1", 0, 2, hlo_op="dot.1"),
        ran(9, 3, "PjitFunction", 0, 8, hlo_op="of the host"),
    ]
    write(tmp_path, events)
    found = profile.read(tmp_path, 10.0)
    assert found.busy == pytest.approx(3.5)
    assert found.copying == pytest.approx(0.5)
    assert found.idle == pytest.approx(0.65)
    assert [(o.name, o.seconds, o.runs) for o in found.operations] == [("dot.1", 3.0, 2), ("MemcpyH2D", 1.5, 1)]
    assert "idle 65 %" in str(found)


def test_two_devices_are_a_mean(tmp_path):
    events = [*named(1, "/device:TPU:0", 1, "XLA Ops"), *named(2, "/device:TPU:1", 1, "XLA Ops")]
    write(tmp_path, [*events, ran(1, 1, "dot", 0, 2), ran(2, 1, "dot", 0, 1)])
    assert profile.read(tmp_path, 3.0).idle == pytest.approx(0.5)


def test_what_runs_inside_is_traced(tmp_path):
    work = jax.jit(lambda x: jnp.linalg.eigh(x @ x.T)[0])
    x = jnp.ones((50, 50))
    work(x)
    with profile.profiled(tmp_path) as found:
        jax.block_until_ready(work(x))
    assert any(o.name.startswith("eigh") for o in found[0].operations)
    assert 0 < found[0].busy <= found[0].seconds


def test_without_a_trace_there_is_no_profile(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trace"):
        profile.read(tmp_path, 1.0)


def test_where_xla_ran_nothing_no_device_is_called_idle():
    assert str(profile.Profile(1.5, 0.0, 0.0, (), False)) == "1.50 s, in which XLA ran nothing"
