"""The columns of edits."""

from eigensweep.engine.tables.columns import COUNT, FLOAT, INDICES, TEXT, Column

SOURCE = "Millidge & Black 2022"
EFFECTS = {
    "direction": Column(TEXT, "", "the direction whose edit is held against others; 'all' for all of them together"),
    "kind": Column(
        TEXT, "", "edit: the direction itself; other: another one of its circuit; random: a random one of the same norm"
    ),
    "removed": Column(TEXT, "", "address of what was scaled in its place; null for random ones"),
    "s": Column(FLOAT, "[w]^2 or [w]", "its singular value"),
    "prompt": Column(TEXT, "", "the prompt"),
    "next": Column(TEXT, "", "the next word as given; of several tokens the first counts"),
    "token": Column(COUNT, "", "the next token's number"),
    "log_probability": Column(FLOAT, "nats", "of the next token behind the prompt, as the model is", SOURCE),
    "change": Column(FLOAT, "nats", "of log_probability by the edit"),
}
CHANGED = {
    "tensor": Column(TEXT, "", "name of the matrix, or of the bias, that is changed; no other tensor is"),
    "shape": Column(INDICES, "", "of the matrix (out, in)"),
    "change": Column(FLOAT, "[w]", "|W' - W|_F, both as they are stored"),
    "relative_change": Column(FLOAT, "", "change/|W|_F; null where W is zero"),
}
LOSSES = {
    "removed": Column(
        TEXT,
        "",
        "which directions were scaled: edit; coherent: rejected on a side and sign; incoherent: tested and not",
    ),
    "circuit": Column(TEXT, "", "address of the circuit; null for the edit"),
    "directions": Column(COUNT, "", "how many they are"),
    "share": Column(FLOAT, "", "their share of sum s^2 of their circuits"),
    "loss": Column(FLOAT, "nats", "mean over tokens, after"),
    "change": Column(FLOAT, "nats", "loss less that of the model as it is"),
    "change_low": Column(FLOAT, "nats", "lower end of its 95 % bootstrap interval over rows"),
    "change_high": Column(FLOAT, "nats", "upper end"),
}
