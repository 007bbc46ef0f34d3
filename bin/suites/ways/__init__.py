"""Ways that a device may take, each a candidate that a suite measures before any of them becomes the engine's own."""
