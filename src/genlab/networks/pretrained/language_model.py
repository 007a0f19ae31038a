"""Causal language models of transformers, as distributions of bytes."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor

from genlab.core.errors import GenlabError, shown
from genlab.core.memory import memory_bytes
from genlab.core.noise import uniform
from genlab.networks.pretrained.folder import MOST_SETTINGS, check_layers, checksum, file_in, read_json, weights_in

__all__ = ["LanguageModel", "Tokens", "language_model_files", "load_language_model"]

SETTINGS, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
MOST_TOKENIZER = 2**26
MOST_LOGITS = 2**26
"""Logits that are held at a time: a window of a text has as many for each token as there are tokens."""
ARCHITECTURES: Mapping[str, str] = {
    "GPT2LMHeadModel": "transformers.models.gpt2.modeling_gpt2",
    "GPTNeoForCausalLM": "transformers.models.gpt_neo.modeling_gpt_neo",
    "GPTNeoXForCausalLM": "transformers.models.gpt_neox.modeling_gpt_neox",
    "LlamaForCausalLM": "transformers.models.llama.modeling_llama",
    "Qwen2ForCausalLM": "transformers.models.qwen2.modeling_qwen2",
}
"""All that ``config.json`` may name, and where it is in the library; nothing else is imported."""

REFUSED = (
    "attribute_map", "auto_map", "configuration_files", "fusion_config", "per_layer_config", "quantization_config",
    "transformers_weights",
)  # fmt: skip
REFUSED_PARTS = ("__", "attn_implementation", "experts_implementation")
"""Keys of ``config.json``, and parts of them, by which the library reads other files, fetches code, changes layers, or
sets an attribute of another name."""

LAYERS = ("n_layer", "num_layers", "num_hidden_layers")
"""Keys of ``config.json`` by which these classes are told their number of layers."""


class Tokens:
    """A byte-level tokenizer: each token stands for some bytes, and any bytes can be written in tokens.

    Source of the characters by which it writes bytes: Radford et al. (2019), "Language models are unsupervised
    multitask learners", in their published encoder.

    Args:
        tokenizer: Of the package ``tokenizers``.

    Attributes:
        content: The bytes of each token; none of one that marks a place, as the end of a text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # a text that spells out such a mark is a text
        tokenizer.no_padding()
        tokenizer.no_truncation()
        added, byte_of = tokenizer.get_added_tokens_decoder(), _bytes_of_characters()
        self.content: list[bytes] = []
        for number in range(tokenizer.get_vocab_size()):
            token = tokenizer.id_to_token(number) or ""
            if number in added:
                self.content.append(b"" if added[number].special else token.encode())
            else:
                self.content.append(bytes(map(byte_of.get, token)) if set(token) <= set(byte_of) else b"")
        self._of_byte = {found[0]: number for number, found in reversed([*enumerate(self.content)]) if len(found) == 1}

    @property
    def is_complete(self) -> bool:
        """Whether there is a token for each byte."""
        return len(self._of_byte) == 256

    def encode(self, content: bytes) -> list[int]:
        """Return tokens whose bytes, one after the other, are these: the tokenizer's own where it gives them back.

        What is no UTF-8, as a character that is cut at the end of a window, is written byte by byte.
        """
        found: list[int] = []
        for part, is_text in _parts(content):
            numbers = self._tokenizer.encode(part.decode(), add_special_tokens=False).ids if is_text else []
            if b"".join(self.content[number] for number in numbers) != part or not all(map(self._spells, numbers)):
                numbers = [self._of_byte[byte] for byte in part]
            found += numbers
        return found

    def _spells(self, number: int) -> bool:
        return bool(self.content[number])


class LanguageModel:
    """A causal language model and its tokens.

    The probability of bytes is that of the tokens that its tokenizer writes them in. Other tokens spell the same bytes,
    so this is a lower bound of what the model gives them; summed over all texts of so many bytes it is at most one,
    since none of their tokens begin those of another. The first token is given the mark of a text's beginning where
    ``config.json`` has one (``bos_token_id``), and else all tokens are equally probable there.

    Args:
        name: Name of the network's class.
        network: Gives logits.
        tokens: What it reads.
        sha256: Of the files that it was read from.
    """

    def __init__(self, name: str, network: torch.nn.Module, tokens: Tokens, sha256: bytes) -> None:
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self.tokens = tokens
        self.sha256 = sha256
        self.positions: int = network.config.max_position_embeddings
        begin = network.config.bos_token_id
        self.begin = [begin] if type(begin) is int and 0 <= begin < network.config.vocab_size else []

    @torch.no_grad()
    def log_prob(self, texts: Sequence[bytes], device: torch.device) -> Tensor:
        """Return the log-probabilities of texts, nats, float64 ``[N]``.

        Raises:
            GenlabError: If one has more tokens than the network reads.
        """
        self.network.to(device)
        rows = [self.tokens.encode(text) for text in texts]
        longest = max(map(len, rows))
        self._check_length(longest - 1 + len(self.begin))
        step = max(1, MOST_LOGITS // (longest * self.network.config.vocab_size))
        parts = [self._score(rows[first : first + step], device) for first in range(0, len(rows), step)]
        return torch.cat(parts) - (0.0 if self.begin else _log(len(self.tokens.content)))

    def _score(self, rows: list[list[int]], device: torch.device) -> Tensor:
        lengths = torch.tensor([len(row) for row in rows], device=device)
        padded = [self.begin + row + [0] * (int(lengths.max()) - len(row)) for row in rows]
        tokens = torch.tensor(padded, device=device)
        given, wanted = tokens[:, :-1], tokens[:, 1:]
        if given.shape[1] == 0:
            return torch.zeros(len(rows), dtype=torch.float64, device=device)
        # What stands after a text is seen by nothing before it: no mask is needed.
        log_probs = self.network(input_ids=given, use_cache=False).logits.float().log_softmax(-1)
        each = log_probs.gather(2, wanted[..., None])[..., 0].double()
        counted = torch.arange(given.shape[1], device=device) < (lengths - 1 + len(self.begin))[:, None]
        return (each * counted).sum(1)

    @torch.no_grad()
    def sample(self, n: int, length: int, generator: Generator | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw texts of so many bytes: the first ones of longer texts. A mark, as of a text's end, is never drawn.

        Args:
            n: Number of texts.
            length: Bytes of each.
            generator: Source of the noise, which belongs to the text; see :mod:`genlab.core.noise`.
            device: Where they are drawn.

        Returns:
            ``[n, length]``, int64, and how many tokens each has, ``[n]``.
        """
        self.network.to(device)
        sizes = torch.tensor([len(content) for content in self.tokens.content], device=device)
        texts, drawn = [bytearray() for _ in range(n)], torch.zeros(n, dtype=torch.int64)
        given, cache = torch.tensor(self.begin, device=device).expand(n, len(self.begin)), None
        count = 0
        while not (ended := torch.tensor([len(text) >= length for text in texts])).all():
            logits = torch.zeros(n, len(sizes), device=device)
            if given.shape[1]:
                self._check_length(count + len(self.begin))
                found = self.network(input_ids=given, past_key_values=cache, use_cache=True)
                cache, logits = found.past_key_values, found.logits[:, -1, : len(sizes)]
            chances = logits.double().masked_fill(sizes == 0, -torch.inf).softmax(-1).cumsum(-1)
            u = uniform((n, 1), generator, device, torch.float64) * chances[:, -1:]
            given = torch.searchsorted(chances, u, right=True).clamp_max(len(sizes) - 1)
            for text, number in zip(texts, given[:, 0].tolist(), strict=True):
                text += self.tokens.content[number]
            drawn += ~ended
            count += 1
        rows = [list(text[:length]) for text in texts]
        return torch.tensor(rows, dtype=torch.int64, device=device), drawn

    def _check_length(self, tokens: int) -> None:
        if tokens > self.positions:
            raise GenlabError(
                f"A window has {tokens:,} tokens, and {self.name} reads at most {self.positions:,}. Lower data.length."
            )


def language_model_files(names: Collection[str], folder: Path) -> dict[str, float]:
    """Return the files that :func:`load_language_model` opens, and the most bytes of each: the settings come first.

    Args:
        names: Of all files that there are.
        folder: Has those that were fetched so far.

    Raises:
        GenlabError: If the settings are there and name what is not known.
    """
    if not (folder / SETTINGS).exists():
        return {SETTINGS: MOST_SETTINGS}
    _read_architecture(folder)
    return {SETTINGS: MOST_SETTINGS, TOKENIZER: MOST_TOKENIZER, WEIGHTS: memory_bytes()}


def load_language_model(folder: Path) -> LanguageModel:
    """Read a language model from its folder; nothing unpickles, and no class is imported but :data:`ARCHITECTURES`.

    The library is given the settings and the weights, not the folder: no other file in it is opened.

    Args:
        folder: With ``config.json``, ``tokenizer.json`` and ``model.safetensors``.

    Raises:
        GenlabError: If the folder holds anything else, or transformers is not installed.
    """
    name, settings = _read_architecture(folder)
    weights, tokenizer = weights_in(folder, WEIGHTS), file_in(folder, TOKENIZER, MOST_TOKENIZER)
    sha256 = checksum([file_in(folder, SETTINGS), tokenizer, weights])
    try:
        made = getattr(importlib.import_module(ARCHITECTURES[name]), name)
        from tokenizers import Tokenizer
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("transformers", "tokenizers"):
            raise
        raise GenlabError("model=pretrained_text needs transformers: pip install 'genlab[transformers]'") from error
    set_verbosity_error()  # what is wrong is said here
    disable_progress_bar()
    try:
        for key, layers in _layers(settings):
            check_layers(folder / SETTINGS, key, layers, weights)
        tokens = Tokens(Tokenizer.from_str(tokenizer.read_text(encoding="utf-8")))
        network, loaded = made.from_pretrained(  # no folder: what lies there may name files that nobody looked at
            None,
            config=made.config_class.from_dict(settings),
            state_dict=load_file(weights),
            dtype=torch.float32,
            attn_implementation=None,  # the class's own, of those in torch
            local_files_only=True,
            output_loading_info=True,
        )
    except GenlabError:
        raise
    except Exception as error:  # whatever a library says to settings and files of others
        reason = " ".join(str(error).split())[:200]
        raise GenlabError(f"transformers cannot make {name} of {shown(folder)}: {reason}") from error
    if lacking := [*loaded["missing_keys"], *loaded["unexpected_keys"], *loaded["mismatched_keys"]]:
        named = shown(lacking[0])[:120]
        raise GenlabError(f"The weights in {shown(weights)} are not those of its config.json: {named} differs.")
    if not tokens.is_complete or len(tokens.content) > network.config.vocab_size:
        raise GenlabError(
            f"{shown(tokenizer)} has {len(tokens.content):,} tokens, not all bytes among them or more than the network "
            "has, expected a byte-level tokenizer as GPT-2's."
        )
    return LanguageModel(name, network, tokens, sha256)


def _read_architecture(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the class that a folder names and its settings, if it is known and none could run code or open files."""
    settings = read_json(folder, SETTINGS)
    named = settings.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise GenlabError(
            f"{shown(folder)}/{SETTINGS} is of {shown(repr(named))[:120]}, expected one of {', '.join(ARCHITECTURES)}."
        )
    settings.pop("_attn_implementation_autoset", None)  # older versions of the library wrote it; it chooses nothing
    if strange := [key for key in settings if key in REFUSED or any(part in key for part in REFUSED_PARTS)]:
        raise GenlabError(f"{shown(folder)}/{SETTINGS} has {shown(strange[0])[:120]}, which is not read here.")
    return name, settings


def _layers(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the numbers of layers that settings name, each with its key. The library refuses what is no number."""
    for key in LAYERS:
        if type(settings.get(key)) is int:
            yield key, settings[key]
    types = settings.get("attention_types")  # of GPT-Neo: lists of kinds, each with how often it is repeated
    pairs = [pair for pair in types if isinstance(pair, list) and len(pair) > 1] if isinstance(types, list) else []
    repeated = [(kinds, times) for kinds, times, *_ in pairs if isinstance(kinds, list | str) and type(times) is int]
    yield "attention_types", sum(len(kinds) * max(times, 0) for kinds, times in repeated)


def _bytes_of_characters() -> dict[str, int]:
    """Return which byte a character of a token stands for: itself where it is seen, and else one after the 256."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _parts(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield what is UTF-8 and what is not, in their order."""
    while content:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            if error.start:
                yield content[: error.start], True
            yield content[error.start : error.end], False
            content = content[error.end :]
        else:
            yield content, True
            return


def _log(count: int) -> float:
    return float(torch.tensor(count, dtype=torch.float64).log())
