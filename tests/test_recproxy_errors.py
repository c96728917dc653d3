from __future__ import annotations

import inspect

import pytest

from recproxy import errors
from recproxy.errors import ConfigError, PolicyError, RecproxyError, SdpError, SipError

# The contract of the command line: a number, once given, keeps its meaning.
EXIT_CODES = {
    "RecproxyError": 1,
    "UsageError": 2,
    "PartlyDone": 3,
    "NoCatalogue": 10,
    "AlreadyRunning": 11,
    "NoIdentity": 12,
    "VerificationFailed": 20,
    "ConfigError": 78,
    "PolicyError": 78,
}


def test_every_error_is_of_one_tree_and_ends_a_command_as_promised() -> None:
    found = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    tree = [kind for kind in found if issubclass(kind, RecproxyError)]
    assert tree == found
    codes = {kind.__name__: kind.exit_code for kind in tree if kind.exit_code != 1}
    assert codes | {"RecproxyError": RecproxyError.exit_code} == EXIT_CODES


def test_an_error_carries_its_mend() -> None:
    err = RecproxyError("recipients file has no recipients", hint="create a key pair")
    assert (str(err), err.hint) == ("recipients file has no recipients", "create a key pair")


def test_a_configuration_error_carries_each_problem() -> None:
    err = PolicyError("p.yaml:1: a: wrong", "p.yaml:2: b: wrong")
    assert isinstance(err, ConfigError)
    assert err.problems == ("p.yaml:1: a: wrong", "p.yaml:2: b: wrong")
    assert str(err) == "p.yaml:1: a: wrong\np.yaml:2: b: wrong"


@pytest.mark.parametrize(("kind", "code"), [(SipError, 400), (SdpError, None)])
def test_an_error_of_a_peer_keeps_the_value_apart(kind: type[errors.PeerError], code: int | None) -> None:
    err = kind("header From", "malformed", "sip:a b@h")
    assert str(err) == "header From: malformed: sip:a b@h"
    assert (err.where, err.what, err.value) == ("header From", "malformed", "sip:a b@h")
    assert getattr(err, "code", None) == code
    assert str(kind("header From", "missing")) == "header From: missing"
