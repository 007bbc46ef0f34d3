"""What a language model is asked: a label for a list of tokens, and which tokens of a mixed list a label fits.

Most lists of tokens share nothing, so most examples say so: a model that is shown only successes finds a theme in
everything.
"""

import json
from collections.abc import Sequence

_EXAMPLES: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("slot", " Hamburg", "ively", "cheese", " 1874", "Ob", " regret", "##ax", " upon", "violin"), None),
    ((" rain", "storm", " cloudy", "##snow", " thunder", "isk", " humid", "fog", " windy", " hail"), "weather"),
    (("##ation", " tired", "Q", " seven", "blue", " parliament", " the", "knot", " however", "ef"), None),
    ((" copper", "lend", "ooo", " Thursday", "match", " salt", "inform", "##ring", " pale", " engine"), None),
    (("17", " 1200", "404", " 9", " sixty", "88", " 3", " dozen", "256", " thousand"), "numbers"),
    ((" gate", " candle", "##ness", " Peru", " slowly", "via", " ninth", " orange", "bark", "lift"), None),
    ((" and", " gravel", "mint", "##ous", " he", " Tuesday", " tuned", "zip", " cruel", "map"), None),
)

_LABEL = """\
Here is a list of tokens from the vocabulary of a language model. Tokens may be words, parts of words, numbers or
signs; a space or ## in front says where a word begins or goes on and means nothing else.

Say what most of these tokens have in common, in meaning or in form, in at most six words. A few that do not fit are no
harm. Most lists are a mixture that shares nothing: if no description fits at least half of the tokens, or only one that
would fit nearly any tokens, say null. Do not repeat tokens as the description.

Answer with one JSON object and nothing else, as in these examples.

{examples}

Tokens: {tokens}
Answer: """

_VERIFY = """\
Here is a description, and a numbered list of tokens from the vocabulary of a language model. Tokens may be words, parts
of words, numbers or signs; a space or ## in front says where a word begins or goes on and means nothing else.

Which of the tokens does the description fit? It may fit many, few, or none at all. Take only those that it clearly
fits.

Answer with one JSON object and nothing else, such as {{"fits": [2, 5, 11]}} or {{"fits": []}}.

Description: {label}
Tokens:
{tokens}
Answer: """


def label_prompt(tokens: Sequence[str]) -> str:
    """The question what most of `tokens` have in common."""
    examples = "\n\n".join(
        f"Tokens: {_listed(shown)}\nAnswer: {json.dumps({'label': name})}" for shown, name in _EXAMPLES
    )
    return _LABEL.format(examples=examples, tokens=_listed(tokens))


def verify_prompt(label: str, tokens: Sequence[str]) -> str:
    """The question which of `tokens`, numbered from 1, the label fits; it does not say where they are from."""
    numbered = "\n".join(f"{i}. {json.dumps(token, ensure_ascii=False)}" for i, token in enumerate(tokens, 1))
    return _VERIFY.format(label=json.dumps(label, ensure_ascii=False), tokens=numbered)


def _listed(tokens: Sequence[str]) -> str:
    return json.dumps(list(tokens), ensure_ascii=False)
