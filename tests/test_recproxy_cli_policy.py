"""``recproxy policy``: check, explain, diff, schema, print, confidential."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import recproxy
from policies import KEY, one_line, one_purpose, parsed, policy_text, whole
from recorded import Shelf, Take, make_shelf, record

from recproxy.policy.schema import json_schema

ETC = Path(__file__).parent.parent / "etc"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path / "shelf")


# check


def test_a_sound_policy_is_told_with_its_hash_and_its_warnings(shelf: Shelf) -> None:
    file = shelf.root / "policy.yaml"
    version = parsed(whole()).version
    done = recproxy("policy", "check", file)
    assert (done.code, done.err) == (0, "")
    for word in ("is sound", version, "training", "P30D", "legitimate_interest", "warning: ", "W101"):
        assert word in done.out
    found = json.loads(recproxy("policy", "check", file, "--json").out)
    assert found["sha256"] == version
    assert found["purposes"]["training"]["retention_s"] == 30 * 86_400
    assert found["problems"] == []
    assert {"code", "file", "line", "key", "what"} == set(found["warnings"][0])


def test_the_configuration_names_policy_and_trunks(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    assert recproxy("policy", "check", "-c", shelf.config).code == 0
    policy.write_text(policy_text(whole(lines={"all": one_line("*", trunk="nowhere")})))
    assert recproxy("policy", "check", policy).code == 0, "any trunk, without a configuration"
    done = recproxy("policy", "check", "-c", shelf.config)
    assert done.code == 78
    assert "E009 'nowhere' is not one of carrier, pbx" in done.err


def test_every_problem_is_told_with_file_line_and_key(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    text = policy_text(
        whole({"training": one_purpose(retention__keep="forever", failure__recorder_down="hope")})
    )
    policy.write_text(text)
    done = recproxy("policy", "check", policy)
    assert done.code == 78
    lines = done.err.splitlines()
    assert len(lines) == 2
    for line, value in zip(lines, ("forever", "hope"), strict=True):
        at = next(number for number, found in enumerate(text.splitlines(), 1) if value in found)
        assert line.startswith(f"recproxy: error: {policy}:{at}: purposes.training.")
    found = json.loads(recproxy("policy", "check", policy, "--json").out)
    assert [problem["code"] for problem in found["problems"]] == ["E001", "E001"]


def test_announcements_are_spoken_and_measured(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    words = "Dit gesprek wordt opgenomen en dat duurt heel erg lang om te zeggen. " * 3
    document = whole(
        {"training": one_purpose(announce__prompts={"nl": "long"})},
        prompts={"long": {"text": words.strip()}},
    )
    file.write_text(policy_text(document))
    done = recproxy("policy", "check", file)
    assert done.code == 78
    assert re.search(r"announce\.prompts\.nl: E007 'long' lasts \d+\.\d s", done.err)
    document["prompts"] = {"long": {"file": "none.wav"}}
    file.write_text(policy_text(document))
    assert "E007 'long' cannot be played" in recproxy("policy", "check", file).err


def test_nothing_to_check_is_usage() -> None:
    assert recproxy("policy", "check").code == 2


def test_a_file_that_is_missing_is_code_78(tmp_path: Path) -> None:
    assert recproxy("policy", "check", tmp_path / "none.yaml").code == 78


# explain


def test_a_call_is_explained_with_numbers_from_standard_input(shelf: Shelf) -> None:
    words = ("policy", "explain", "-c", shelf.config, "--from", "-", "--to", "-", "--at", "2026-11-24T12:00Z")
    done = recproxy(*words, stdin=b"+31201234567\n+31305550100\n")
    assert done.code == 0, done.err
    for word in ("recorded", "training, on legitimate_interest", "2026-12-24T12:00:00.000Z", "records it"):
        assert word in done.out
    assert "1234567" not in done.out
    found = json.loads(recproxy(*words, "--json", stdin=b"+31201234567\n112\n").out)
    assert (found["recorded"], found["exempt"], found["reason"]) == (False, "emergency", "emergency")
    assert recproxy(*words, stdin=b"+31201234567\n").code == 2


def test_a_term_that_counts_from_the_end_is_told_and_so_is_its_change(tmp_path: Path) -> None:
    files = {}
    for start in ("call_start", "call_end"):
        files[start] = tmp_path / f"{start}.yaml"
        files[start].write_text(policy_text(whole({"training": one_purpose(retention__start=start)})))
    call = ("--from", "+31201234567", "--to", "+31305550100", "--at", "2026-11-24")
    told = recproxy("policy", "explain", files["call_end"], *call).out
    assert "2026-12-24T00:00:00.000Z, and as much later as the recording lasts" in told
    longer = recproxy("policy", "diff", files["call_start"], files["call_end"])
    assert longer.code == 0
    assert "for new recordings alone" in longer.out
    shorter = recproxy("policy", "diff", files["call_end"], files["call_start"])
    assert shorter.code == 2, "existing recordings expire sooner: with --config and a number alone"
    assert "for existing recordings too, at once" in shorter.out


def test_a_share_is_told_and_the_draw_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "sample.key").write_text(KEY)
    (tmp_path / "sample.key").chmod(0o600)
    file = tmp_path / "policy.yaml"
    purposes = {"training": one_purpose(selection={"mode": "selective", "rate": 0.5})}
    file.write_text(policy_text(whole(purposes, sample_key_file="sample.key")))
    words = (
        "policy",
        "explain",
        file,
        "--from",
        "+31201234567",
        "--to",
        "+31305550100",
        "--at",
        "2026-11-24",
    )
    assert "recorded if drawn, a share of 0.5" in recproxy(*words).out
    drawn = [json.loads(recproxy(*words, "--json", "--call", f"c{n}").out)["recorded"] for n in range(12)]
    assert set(drawn) == {True, False}
    assert drawn == [
        json.loads(recproxy(*words, "--json", "--call", f"c{n}").out)["recorded"] for n in range(12)
    ]


def test_what_a_fork_must_show_is_told_for_its_trunk_alone(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    words = ("policy", "explain", file, "--from", "+31201234567", "--to", "+31305550100", "--trunk")
    for evidence, said in (
        ({"evidence": "asserted"}, "asserted in each call, naming training"),
        (
            {"evidence": "declared", "authorised_by": "FG", "ref": "DOC-1", "date": "2026-01-02"},
            "declared in DOC-1",
        ),
    ):
        purpose = one_purpose(announce__fork={"trunks": ["sbc"], **evidence})
        file.write_text(policy_text(whole({"training": purpose})))
        assert f"the client announces: {said}" in " ".join(recproxy(*words, "sbc").out.split())
        assert json.loads(recproxy(*words, "sbc", "--json").out)["fork"] == said
        assert "fork" not in json.loads(recproxy(*words, "provider", "--json").out)


def test_a_call_of_a_line_goes_out(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text(whole(lines={"all": one_line("+3130*")})))
    words = ("policy", "explain", file, "--from", "+31301", "--to", "+32", "--json")
    assert json.loads(recproxy(*words).out)["direction"] == "outbound"
    assert recproxy("policy", "explain", "--from", "1", "--to", "2").code == 2
    assert recproxy(*words, "--at", "tomorrow").code == 2


# diff


def test_a_shorter_term_is_confirmed_with_the_number_of_recordings(shelf: Shelf, tmp_path: Path) -> None:
    takes = [Take(number) for number in (1, 2)]
    for take in takes:
        record(shelf, take)
    rows = json.loads(recproxy("recordings", "list", "-c", shelf.config, "--json").out)["recordings"]
    assert {row["purpose"] for row in rows} == {"training"}
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(policy_text(whole()))
    new.write_text(policy_text(whole({"training": one_purpose(retention__keep="PT1S")})))
    done = recproxy("policy", "diff", old, new, "-c", shelf.config)
    assert done.code == 2
    assert "2 recordings would expire sooner" in done.err
    assert "--confirm 2" in done.err
    assert recproxy("policy", "diff", old, new, "-c", shelf.config, "--confirm", 1).code == 2
    assert recproxy("policy", "diff", old, new, "-c", shelf.config, "--confirm", 2).code == 0
    found = json.loads(recproxy("policy", "diff", old, new, "-c", shelf.config, "--json").out)
    assert found["recordings"] == 2
    assert found["changes"][0]["change"] == "shorter"
    assert recproxy("policy", "diff", old, new).code == 2, "no catalogue was asked"
    after = json.loads(recproxy("recordings", "list", "-c", shelf.config, "--json").out)["recordings"]
    assert after == rows, "it reads only"


def test_a_longer_term_moves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    record(shelf, Take(1))
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(policy_text(whole()))
    new.write_text(policy_text(whole({"training": one_purpose(retention__keep="P60D")}, languages=["nl"])))
    done = recproxy("policy", "diff", old, new, "-c", shelf.config)
    assert done.code == 0
    assert "longer" in done.out
    assert "new recordings alone" in done.out
    assert recproxy("policy", "diff", old, old).out.count("\n") <= 1


# schema, print, confidential


def test_the_schema_takes_the_shipped_policy_and_refuses_what_is_wrong() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert json.loads(recproxy("policy", "schema").out) == schema
    # Every value as the text that it is: what a scalar means is the reader's business.
    for text in ((ETC / "policy.yaml").read_text(), policy_text(whole())):
        assert list(violations(schema, yaml.load(text, Loader=yaml.BaseLoader))) == []  # noqa: S506 - texts
    for document in (
        whole(extra="x"),
        whole({"training": one_purpose(kind="fun")}),
        whole({"training": one_purpose(retention__keep="P5Y")}),
        whole({"training": one_purpose(retention=None)}),
        whole({"training": one_purpose(scope__lines={"a": "b"})}),
    ):
        text = policy_text(document)
        assert list(violations(schema, yaml.load(text, Loader=yaml.BaseLoader))) != []  # noqa: S506 - texts


def violations(schema: dict[str, Any], value: Any) -> list[str]:
    """What of a document its schema refuses; knows the words that are used, and fails at any other."""

    def check(rule: Any, value: Any, path: str) -> list[str]:
        known = {
            *(
                "$schema",
                "$ref",
                "$defs",
                "type",
                "title",
                "description",
                "default",
                "properties",
                "required",
            ),
            *("additionalProperties", "anyOf", "items", "enum", "pattern", "format", "const"),
            *("minimum", "maximum", "minLength", "maxLength", "propertyNames"),
        }
        assert set(rule) <= known, set(rule) - known
        if "$ref" in rule:
            return check(schema["$defs"][rule["$ref"].rsplit("/", 1)[1]], value, path)
        if "anyOf" in rule:
            tried = [check(one, value, path) for one in rule["anyOf"]]
            return [] if [] in tried else min(tried, key=len)
        found: list[str] = []
        kinds = rule.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(is_a(kind, value) for kind in kinds):
            return [f"{path}: {value!r} is no {kinds}"]
        if "enum" in rule and value not in rule["enum"]:
            found.append(f"{path}: {value!r} is none of {rule['enum']}")
        if "pattern" in rule and not re.search(rule["pattern"], value):
            found.append(f"{path}: {value!r} does not match")
        if isinstance(value, dict):
            properties = rule.get("properties", {})
            found += [f"{path}.{name} is missing" for name in rule.get("required", []) if name not in value]
            for name, part in value.items():
                more = properties.get(name, rule.get("additionalProperties", True))
                if more is False:
                    found.append(f"{path}.{name} is not known")
                elif isinstance(more, dict):
                    found += check(more, part, f"{path}.{name}")
        if isinstance(value, list):
            for at, part in enumerate(value):
                found += check(rule.get("items", {}), part, f"{path}[{at}]")
        return found

    return check(schema, value, "")


def is_a(kind: str, value: object) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "null":
            return value == ""
        case "boolean":
            return value in {"true", "false"}
        case "integer" | "number":
            return isinstance(value, str) and bool(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value))
        case _:
            return isinstance(value, str)


def test_what_is_printed_has_the_version_as_its_hash(shelf: Shelf) -> None:
    done = recproxy("policy", "print", shelf.root / "policy.yaml")
    assert hashlib.sha256(done.raw).hexdigest() == parsed(whole()).version


def test_confidential_numbers_become_hashes_that_the_policy_knows(shelf: Shelf) -> None:
    key, hashes = shelf.root / "c.key", shelf.root / "c.hmac"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    numbering = {"country_code": "31"}
    (shelf.root / "policy.yaml").write_text(policy_text(whole(numbering=numbering)))
    done = recproxy(
        *("policy", "confidential", "-c", shelf.config, "--key", key), stdin=b"0201112222\n\n+3222\n"
    )
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 2
    hashes.write_bytes(done.raw)
    exempt = {"confidential": {"file": "c.hmac", "key_file": "c.key"}}
    (shelf.root / "policy.yaml").write_text(policy_text(whole(numbering=numbering, exempt=exempt)))
    words = ("policy", "explain", "-c", shelf.config, "--from", "-", "--to", "+31305550100", "--json")
    assert json.loads(recproxy(*words, stdin=b"+31201112222\n").out)["exempt"] == "confidential"
    assert json.loads(recproxy(*words, stdin=b"+31201112223\n").out)["exempt"] is None
    key.write_text("secret")
    bad = recproxy("policy", "confidential", "-c", shelf.config, "--key", key, stdin=b"1\n")
    assert bad.code == 2
    assert "secret" not in bad.err
