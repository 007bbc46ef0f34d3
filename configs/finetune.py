"""The defaults of eigensweep-finetune; every key can be overridden: `--config.epochs=1 --config.study=True`.

    eigensweep-finetune --checkpoint=bert-base-uncased --workdir=runs/boolq --config.data=BoolQ/train.jsonl

Keys of the training are those of `eigensweep.models.nn.TrainOptions`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Options of `eigensweep-finetune`."""
    config = ConfigDict()
    config.checkpoint = ""  # an encoder; --checkpoint overrides it
    config.tokenizer = ""  # folder or hub id; "" for the checkpoint's
    config.dtype = (
        "float32"  # of the computation; bfloat16 on accelerators. Parameters are trained in float32.
    )
    config.devices = 1  # deal batches out over that many

    config.task = "boolq"  # boolq, wic, or jsonl with the fields below
    config.data = ""  # JSON lines
    config.text, config.pair, config.label, config.labels = "text", "", "label", ""  # of task = jsonl
    config.length = 128  # tokens a row
    config.num_train = 2600  # rows to learn from, validation rows among them; the rest is held out
    config.validation = 0.1  # share of num_train that early stopping looks at
    config.num_test = 0  # held-out rows to use, 0 for all
    config.split_seed = 0  # which rows are held out: the same for all members

    config.trainable = "all"  # all, head
    config.epochs = 3
    config.batch_size = 16
    config.learning_rate = 5e-5
    config.warmup = 0.1
    config.weight_decay = 0.01
    config.clip = 1.0
    config.dropout = True
    config.evaluate_every = 0
    config.patience = 2

    config.seeds = (
        ""  # of head, order and dropout; "" with a study: 0,1 on CPU, 0-4 on an accelerator, else 0
    )
    config.study = False  # remove deciles before and after fine-tuning
    config.deciles = ""  # "1-10"; "" for 1,5,10 on CPU, all ten on an accelerator
    config.scopes = (
        "blocks"  # what a decile is taken from: blocks (all matrices there at once), roles (each by itself),
    )
    #                           or roles and matrices by name, separated by commas
    config.orders = (
        "before,after"  # remove, then fine-tune; fine-tune, then remove (cheap: nothing is trained again)
    )
    config.spectra = True  # sweep the model before and after fine-tuning, and compare
    return config
