"""What the page holds, in one binary blob: JSON whose arrays lie beside it as bytes; gzip and base64 make it text.

The blob is the JSON's length (uint32, little-endian), the JSON in UTF-8, and the arrays' bytes one after another. An
array stands in the JSON as `{"$": [type, offset, length]}`; its bytes are sorted by significance (all first bytes of
its numbers, then all second ones), which makes equal exponents neighbours for gzip. `js/data.js` reads it back.
"""

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "float32": "f32", "float64": "f64"}
LEVEL = 9


def packed(content: Mapping[str, Any]) -> str:
    """`content` (of dicts, lists, text, numbers and one-dimensional NumPy arrays) as base64 text."""
    buffers: list[bytes] = []
    offset = 0

    def plain(value: Any) -> Any:
        nonlocal offset
        if isinstance(value, np.ndarray):
            raw = np.ascontiguousarray(value)
            planes = raw.astype(raw.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, raw.dtype.itemsize).T.tobytes()
            place = [KINDS[raw.dtype.name], offset, raw.size]
            buffers.append(planes)
            offset += len(planes)
            return {"$": place}
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        return value if value is None or isinstance(value, bool | int | float) else str(value)

    text = json.dumps(plain(content), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    blob = len(text).to_bytes(4, "little") + text + b"".join(buffers)
    return base64.b64encode(gzip.compress(blob, LEVEL, mtime=0)).decode()
