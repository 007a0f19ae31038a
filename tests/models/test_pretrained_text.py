"""Language models of others: bits per byte by another computation, samples by their chances, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.spec import DataSpec
from genlab.models.pretrained_text import PretrainedText
from tests.hub_server import serving
from tests.tiny import train

TEXT = "the cat sat on the mat; thé end <|endoftext|> of the theatre. " * 20
SPEC = DataSpec("tiny", "text", (12,), levels=256)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny GPT-2 and a tokenizer of 300 tokens, once with a mark of the beginning and once without."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([TEXT.replace("<|endoftext|>", "")], trainer)
    folder, found = tmp_path_factory.mktemp("language_models"), {}
    for name, begin in (("marked", 0), ("unmarked", None)):
        torch.manual_seed(0)
        size = tokenizer.get_vocab_size()
        config = GPT2Config(
            vocab_size=size, n_positions=40, n_embd=16, n_layer=1, n_head=2, bos_token_id=begin, eos_token_id=begin,
            initializer_range=0.5,
        )  # fmt: skip
        GPT2LMHeadModel(config).save_pretrained(folder / name)
        tokenizer.save(str(folder / name / "tokenizer.json"))
        found[name] = folder / name
    return found


def model_of(folder: Path | str, length: int = 12) -> PretrainedText:
    spec = DataSpec("tiny", "text", (length,), levels=256)
    return PretrainedText(spec, path=str(folder), name="pretrained_text").eval()


def window(text: str, length: int, start: int = 0) -> torch.Tensor:
    return torch.tensor(list(text.encode()[start : start + length]))


@pytest.mark.parametrize("kind", ["marked", "unmarked"])
def test_the_likelihood_is_the_sum_of_the_librarys_token_losses(saved: dict[str, Path], kind: str) -> None:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    network = GPT2LMHeadModel.from_pretrained(saved[kind]).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(saved[kind] / "tokenizer.json"))
    texts, expected = ["the cat sat ", "mat; the end"], []
    for text in texts:
        tokens = tokenizer(text).input_ids
        assert 1 < len(tokens) < 12  # several bytes in one token
        given = torch.tensor([[0, *tokens] if kind == "marked" else tokens])
        with torch.no_grad():
            loss = network(input_ids=given, labels=given).loss  # a mean over all tokens but the first
        first = 0.0 if kind == "marked" else -math.log(len(tokenizer))
        expected.append(first - float(loss) * (given.shape[1] - 1))
    log_prob = model_of(saved[kind]).log_prob(torch.stack([window(text, 12) for text in texts]))
    torch.testing.assert_close(log_prob, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["marked", "unmarked"])
def test_one_byte_has_the_chances_of_the_tokens_that_are_it(saved: dict[str, Path], kind: str) -> None:
    """All of them together have what tokens of more bytes, and marks, leave: never more than one."""
    model = model_of(saved[kind], 1)
    chances = model.log_prob(torch.arange(256)[:, None]).exp()
    language_model = model._language_model[0]
    size = len(language_model.tokens.content)
    expected = torch.full((size,), 1 / size, dtype=torch.float64)
    if kind == "marked":
        with torch.no_grad():
            expected = language_model.network(torch.tensor([[0]])).logits[0, -1].double().softmax(-1)
    single = torch.tensor([len(content) == 1 for content in language_model.tokens.content])
    assert single.sum() == 256
    torch.testing.assert_close(chances.sum(), expected[single].sum(), rtol=1e-5, atol=0)
    assert chances.sum() < 1


def test_texts_of_two_bytes_have_at_most_probability_one(saved: dict[str, Path]) -> None:
    """Those of them that the tokenizer writes in one token have that token's chance, and no other's."""
    model, letters = model_of(saved["marked"], 2), list(range(256))
    some = letters[97:105]  # the rest of the first bytes' chances is bounded by what they have together
    pairs = torch.tensor([[a, b] for a in some for b in letters])
    of_pairs = model.log_prob(pairs).exp().view(len(some), 256).sum(1)
    tokens = model._language_model[0].tokens.content
    with torch.no_grad():
        first = model._language_model[0].network(torch.tensor([[0]])).logits[0, -1].double().softmax(-1)
    for letter, total in zip(some, of_pairs, strict=True):
        begins = sum(float(p) for p, content in zip(first, tokens, strict=True) if content[:1] == bytes([letter]))
        assert 0 < total <= begins


def test_every_byte_is_scored_whatever_the_window_cuts(saved: dict[str, Path]) -> None:
    tokens = model_of(saved["marked"])._language_model[0].tokens
    for content in ("é".encode()[1:] + b"the", b"th\xc3", b"\xff\x00\xfe", TEXT.encode(), "日本".encode()[:-1]):
        numbers = tokens.encode(content)
        assert b"".join(tokens.content[number] for number in numbers) == content
        assert all(tokens.content[number] for number in numbers)  # "<|endoftext|>" in a text is no mark
    assert len(tokens.encode(TEXT.encode())) < 0.7 * len(TEXT.encode())


def test_the_likelihood_does_not_depend_on_the_batch(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_of(saved["marked"]), torch.stack([window(TEXT, 12, start) for start in (0, 5, 25, 40)])
    together = model.log_prob(x)
    monkeypatch.setattr("genlab.networks.pretrained.language_model.MOST_LOGITS", 1)
    torch.testing.assert_close(together, model.log_prob(x))
    assert len({len(model._language_model[0].tokens.encode(bytes(row))) for row in x.tolist()}) > 1


@pytest.mark.parametrize("kind", ["marked", "unmarked"])
def test_samples_have_the_models_chances_and_belong_to_themselves(saved: dict[str, Path], kind: str) -> None:
    model = model_of(saved[kind])
    together = model.sample(4, generator=ExampleNoise(1))
    apart = [model.sample(2, generator=ExampleNoise(1, first)) for first in (0, 2)]
    assert together.shape == (4, 12)
    assert torch.equal(together, torch.cat(apart))
    assert 1 < model.nfe < 12
    first = model_of(saved[kind], 1).sample(5000, generator=ExampleNoise(0))[:, 0]
    contents = model._language_model[0].tokens.content
    chances = torch.ones(len(contents))
    if kind == "marked":
        with torch.no_grad():
            chances = model._language_model[0].network(torch.tensor([[0]])).logits[0, -1].softmax(-1)
    expected = torch.zeros(256)
    for chance, content in zip(chances, contents, strict=True):
        if content:
            expected[content[0]] += chance
    expected /= expected.sum()
    assert 0.5 * (first.bincount(minlength=256) / len(first) - expected).abs().sum() < 0.1


def test_a_mark_is_never_drawn(saved: dict[str, Path]) -> None:
    model = model_of(saved["marked"], 3)
    tokens = model._language_model[0].tokens
    tokens.content = [content if content == b"a" else b"" for content in tokens.content]
    assert model.sample(4, generator=ExampleNoise(0)).tolist() == [[97] * 3] * 4
    assert model.nfe == 3


def test_it_stands_in_the_table_in_bits_per_byte(saved: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    data = ["data=text_file", f"data.path={path}", "data.by=bytes", "data.length=12", "evaluation.max_examples=null"]
    result = train(tmp_path, *data, f"model.path={saved['marked']}", model="pretrained_text")
    assert result.data.unit == "bits/byte"
    assert result.likelihood.kind == "elbo"
    assert result.training.checkpoint == "none"
    symbols = TEXT.encode()
    begin = int(0.9 * len(symbols))
    begin += (len(symbols) - begin) // 2
    windows = torch.tensor(list(symbols[begin : begin + (len(symbols) - begin) // 12 * 12])).view(-1, 12)
    expected = -model_of(saved["marked"]).log_prob(windows).mean() / 12 / math.log(2)
    assert result.likelihood.bits_per_dim == pytest.approx(float(expected), rel=1e-5)
    assert result.likelihood.examples == len(windows)


def test_what_does_not_fit_or_could_run_code_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"tokens, and GPT2LMHeadModel reads at most 40. Lower data.length"):
        model_of(saved["marked"], 50).log_prob(torch.arange(200, 250)[None])
    assert "is in symbols of its own" in PretrainedText.unsupported(
        DataSpec("own", "text", (8,), levels=3, alphabet="abc")
    )
    cases = [
        ({"architectures": ["MyModel"]}, "config.json is of .*MyModel.*, expected one of GPT2LMHeadModel"),
        ({"auto_map": {"AutoModelForCausalLM": "code.Model"}}, "has auto_map, which is not read here"),
        ({"n_layer": 2}, "are not those of its config.json"),
        ({"n_layer": 500}, "config.json: n_layer stands for 500 layers, but model.safetensors has 1"),
        ({"num_hidden_layers": 500}, "num_hidden_layers stands for 500 layers, but "),
        ({"attention_types": [[["global", "local"], 500]]}, "attention_types stands for 1,000 layers"),
        ({"n_head": "two"}, "transformers cannot make GPT2LMHeadModel of"),
    ]
    for number, (changes, line) in enumerate(cases):
        folder = tmp_path / str(number)
        shutil.copytree(saved["marked"], folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(GenlabError, match=line):
            model_of(folder)
    folder = tmp_path / "pickled"
    shutil.copytree(saved["marked"], folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(GenlabError, match="which may run code when it is opened"):
        model_of(folder)
    folder = tmp_path / "tokens"
    shutil.copytree(saved["marked"], folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(GenlabError, match="transformers cannot make"):
        model_of(folder)


NEO_X = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = NEO_X | {"num_key_value_heads": 1}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2}),
        ("GPTNeoForCausalLM", {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "window_size": 4,
                               "attention_types": [[["global", "local"], 1]]}),
        ("GPTNeoXForCausalLM", NEO_X),
        ("LlamaForCausalLM", LLAMA),
        ("LlamaForCausalLM", LLAMA | {"tie_word_embeddings": True}),
        ("Qwen2ForCausalLM", LLAMA),
    ],
)  # fmt: skip
def test_every_class_gives_the_logits_of_the_library(
    saved: dict[str, Path], tmp_path: Path, name: str, sizes: dict[str, Any]
) -> None:
    import transformers

    made = getattr(transformers, name)
    sizes = sizes | {"vocab_size": 300, "max_position_embeddings": 40, "bos_token_id": 0, "eos_token_id": 0}
    made(made.config_class(**sizes, initializer_range=0.5)).to(torch.bfloat16).save_pretrained(tmp_path)
    shutil.copy(saved["marked"] / "tokenizer.json", tmp_path)
    expected, tokens = made.from_pretrained(tmp_path, dtype=torch.float32), torch.arange(24).view(2, 12)
    network = model_of(tmp_path)._language_model[0].network
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(network(tokens).logits, expected(tokens).logits, rtol=0, atol=0)


def test_weights_of_the_first_gpt2_have_no_prefix_and_more_buffers(saved: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = changed(saved["marked"], tmp_path / "model", {})
    weights = load_file(folder / "model.safetensors")
    first = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    save_file(first | {"h.0.attn.bias": torch.ones(1, 1, 40, 40)}, folder / "model.safetensors", {"format": "pt"})
    x = window(TEXT, 12)[None]
    assert torch.equal(model_of(folder).log_prob(x), model_of(saved["marked"]).log_prob(x))


KERNEL = "kernels-community/flash-attn2"


@pytest.mark.parametrize(
    "settings",
    [
        {"transformers_weights": "adapter_model.bin"},
        {"transformers_weights": "linked.safetensors"},
        {"configuration_files": ["config.4.0.0.json"]},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"fusion_config": {"patch_embeddings": True}},
        {"per_layer_config": {"0": {"n_inner": 8}}},
        {"attn_implementation": KERNEL},
        {"_attn_implementation": KERNEL},
        {"_attn_implementation_internal": KERNEL},
        {"experts_implementation": KERNEL},
        {"attribute_map": {"other": "_attn_implementation"}, "other": KERNEL},
        {"__dict__": {"_attn_implementation_internal": KERNEL}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_by_which_the_library_would_open_more_are_refused(
    saved: dict[str, Path], tmp_path: Path, settings: dict[str, object]
) -> None:
    folder = changed(saved["marked"], tmp_path / "model", settings)
    torch.save({}, folder / "adapter_model.bin")
    (folder / "config.4.0.0.json").write_text("{}")
    (folder / "linked.safetensors").symlink_to(saved["unmarked"] / "model.safetensors")
    with pytest.raises(GenlabError, match=f"config.json has {next(iter(settings))}, which is not read here.$"):
        model_of(folder)


def test_weights_elsewhere_are_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    linked, indexed = (changed(saved["marked"], tmp_path / name, {}) for name in ("linked", "indexed"))
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to(saved["unmarked"] / "model.safetensors")
    with pytest.raises(GenlabError, match=r"model\.safetensors is a link out of that folder, expected a file"):
        model_of(linked)
    weights = {"transformer.wte.weight": "../linked/model.safetensors"}
    (indexed / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    with pytest.raises(GenlabError, match=r"are in several files, expected one, model\.safetensors"):
        model_of(indexed)


def test_no_other_file_of_the_folder_is_opened(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.integrations.peft

    monkeypatch.setattr(transformers.integrations.peft, "is_peft_available", lambda: True)
    folder = changed(saved["marked"], tmp_path / "model", {"_attn_implementation_autoset": True})
    (folder / "generation_config.json").write_text('{"transformers_version": 1, "custom_generate": "evil"')
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "ada/other", "peft_type": "LORA"}')
    (folder / "adapter_model.bin").write_bytes(b"no pickle")
    (folder / "shard-00000-model-00001-of-00001.safetensors").symlink_to(saved["unmarked"] / "model.safetensors")
    opened: set[str] = set()

    def watch(event: str, given: tuple[object, ...]) -> None:
        if event == "open" and str(given[0]).startswith(str(folder)):
            opened.add(Path(str(given[0])).name)

    sys.addaudithook(watch)
    x = window(TEXT, 12)[None]
    assert torch.equal(model_of(folder).log_prob(x), model_of(saved["marked"]).log_prob(x))
    assert {"config.json"} <= opened <= {"config.json", "model.safetensors", "tokenizer.json"}


def changed(source: Path, folder: Path, settings: dict[str, object]) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    return folder


def test_a_model_of_the_hub_is_that_of_its_folder(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path))
    with serving(monkeypatch) as hub:
        hub.put("ada/gpt", saved["marked"])
        hub.models["ada/gpt"] |= {"pytorch_model.bin": b"", "vocab.txt": b""}
        model = model_of("hf://ada/gpt")
        assert f"GPT2LMHeadModel of hf://ada/gpt@{hub.commit('ada/gpt')}, " in model.variant
        asked = len(hub.requests)
        hub.models["ada/gpt"]["config.json"] = b'{"architectures": ["MyModel"]}'
        with pytest.raises(GenlabError, match=r"^hf://ada/gpt@[0-9a-f]{40}/config.json is of .*MyModel"):
            model_of("hf://ada/gpt")
        assert all(path.endswith(".json") or "/api/" in path for _, path, _ in hub.requests[asked:])
    assert sorted(path.name for path in model.folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    x = window(TEXT, 12)[None]
    assert torch.equal(model.log_prob(x), model_of(saved["marked"]).log_prob(x))
