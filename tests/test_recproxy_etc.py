"""The shipped files hold what they say: every key, and texts that are true."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from policies import parsed

from recproxy import config, policy
from recproxy.policy import PolicyFile
from recproxy.policy.hidden import EveryCall
from recproxy.policy.purpose import PromptId
from storage.tags import Direction

ETC = Path(__file__).parent.parent / "etc"
FILES = sorted(path for path in ETC.rglob("*.yaml") if path.name != "policy.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_shipped_configuration_is_right(path: Path) -> None:
    read = config.load(path)
    assert read.policy.name == "policy.yaml"


def test_the_shipped_policy_is_right_with_the_shipped_trunks() -> None:
    trunks = config.load(ETC / "recproxy.yaml").trunks
    read = shipped(tuple(trunks))
    assert set(read.purposes) == {"training", "agreements", "quality_sample"}
    said = {(prompt.name, prompt.language) for prompt in read.prompts()}
    assert said == {
        *(("training_opt_out", language) for language in ("nl", "en")),
        *(("agreements_opt_out_2", language) for language in ("nl", "en")),
        *(("sample-nl", "nl"), ("sample-en", "en")),
    }


def shipped(trunks: tuple[str, ...] | None = None) -> policy.Policy:
    return parsed((ETC / "policy.yaml").read_text(), trunks=trunks)


SCALARS = (config.PortRange, config.SipTarget)


def keys(kind: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that a file of this kind can hold; the names of a map are left out."""
    for field in msgspec.structs.fields(kind):
        key = (*prefix, field.encode_name)
        yield key
        hint = typing.get_type_hints(kind)[field.name]
        for part in (hint, *typing.get_args(hint)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in SCALARS:
                yield from keys(part, key)


def present(node: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield (*prefix, str(key))
            yield from present(value, (*prefix, str(key)))
    elif isinstance(node, list):
        for value in node:
            yield from present(value, prefix)


MAPS = {"trunks", "purposes", "lines", "roles", "prompts", "key_groups"}


@pytest.mark.parametrize(("name", "kind"), [("recproxy.yaml", config.Config), ("policy.yaml", PolicyFile)])
def test_every_key_is_in_the_shipped_file(name: str, kind: type) -> None:
    # A key that is commented out is written "#key: value"; prose is written "# text".
    text = re.sub(r"(?m)^( *)#(?=[a-z ]+[a-z_]*:)(?! )", r"\1", (ETC / name).read_text())
    text = re.sub(r"(?m)^#emergency:\n((?:  #.*\n)+)", _uncommented, text)
    found = set()
    for path in present(yaml.safe_load(text)):
        found.add(tuple(step for at, step in enumerate(path) if not (at == 1 and path[0] in MAPS)))
    assert set(keys(kind)) - found == set()


def _uncommented(found: re.Match[str]) -> str:
    return "emergency:\n" + found[1].replace("  #", "  ")


def test_the_defaults_in_the_comments_are_the_defaults() -> None:
    text = (ETC / "recproxy.yaml").read_text()
    shown = re.sub(r"(?m)^( *)#(?=[a-z_]+: )", r"\1", text)
    # These show an example: their default is that they are absent.
    absent = (
        "advertise|nameservers|media_advertise|authenticate|tls|keepalive|register"
        "|max_rate|numbers|deny|headers|syslog|listen|tokens"
        "|catalogue|catalogue_password_file|former_nodes|bucket|epochs"
    )
    shown = re.sub(rf"(?m)^ *({absent}): .*\n", "", shown)
    shown = re.sub(r"(?m)^    max_calls: .*\n", "", shown)
    assert config.parse(shown, "recproxy.yaml", ETC) == config.parse(text, "recproxy.yaml", ETC)


def test_the_shipped_policy_decides_as_it_says() -> None:
    read = shipped()

    def purpose(
        callee: str, *, caller: str = "+31201234567", anonymous: bool = False, trunk: str = "provider"
    ) -> str:
        question = policy.CallQuestion(trunk, Direction.INBOUND, caller, callee, anonymous, sos=False)
        decision = replace(read, sampler=EveryCall()).decide(question)
        return decision.plan.purpose if isinstance(decision, policy.Record) else decision.why.value

    assert purpose("+31305550115") == "agreements"
    assert purpose("0305550100") == "training"
    assert purpose("0305550100", trunk="pbx") == "no_rule"
    assert purpose("+31305550129") == "quality_sample"
    assert purpose("+31305550100", anonymous=True) == "anonymous"
    assert purpose("+31305550100", caller="+4930123456") == "jurisdiction"
    assert purpose("+31305559999") == "no_rule"
    assert purpose("112") == "emergency"
    assert purpose("116123") == "help_line"
    assert purpose("*88+31305550100") == "private"


def test_no_shipped_retention_of_a_sample_is_longer_than_its_text_says() -> None:
    read = shipped()
    assert read.purposes[policy.PurposeName("quality_sample")].retention.keep.days == 14
    assert "two weeks" in read.file.prompts[PromptId("sample-en")].text
