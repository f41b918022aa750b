"""The limits and their defaults: checked when written."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import pytest
from every import for_each

from firefly_ws import WebSocketPolicy
from firefly_ws._core.limits import Limits
from firefly_ws.policy import POLICY_FIELDS

SECONDS = {
    "open_timeout", "close_timeout", "idle_timeout", "read_timeout", "write_timeout", "ping_interval", "ping_timeout",
    "connection_timeout",
}  # fmt: skip
SIZES = {
    "max_message_size", "max_text_message_size", "max_binary_message_size", "max_frame_size", "max_write_buffer",
    "max_header_size", "compression_threshold",
}  # fmt: skip
COUNTS = {"max_fragments", "max_header_count", "max_pending_pings"}
WATER = {"write_high_water", "write_low_water"}
RATIOS = {"max_inflate_ratio"}
RATES = {"max_message_rate", "max_byte_rate", "rate_burst"}
CHOICES = {"over_rate", "slow_consumer"}
OTHERS = RATES | RATIOS | CHOICES | {"max_queue"}


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert dataclasses.asdict(WebSocketPolicy()) == {
        "max_message_size": 1 << 20,
        "max_text_message_size": None,
        "max_binary_message_size": None,
        "max_frame_size": None,
        "max_fragments": 131072,
        "max_inflate_ratio": None,
        "open_timeout": 10,
        "close_timeout": 10,
        "idle_timeout": None,
        "read_timeout": None,
        "write_timeout": 30,
        "ping_interval": None,
        "ping_timeout": 20,
        "connection_timeout": None,
        "write_high_water": 1 << 20,
        "write_low_water": 256 << 10,
        "max_write_buffer": 16 << 20,
        "max_queue": (64, 1 << 20),
        "max_header_size": 16 << 10,
        "max_header_count": 128,
        "compression_threshold": 64,
        "slow_consumer": "wait",
        "max_pending_pings": 64,
        "max_message_rate": None,
        "max_byte_rate": None,
        "rate_burst": 5,
        "over_rate": "close",
    }


def test_every_field_is_checked_by_one_of_the_rules() -> None:
    assert SECONDS | SIZES | COUNTS | WATER | OTHERS == POLICY_FIELDS


@for_each("name", sorted(POLICY_FIELDS - OTHERS))
@for_each("value", ["10", b"10", [10], (1,), True, object(), 1j])
def test_what_is_no_number_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name}=.* must be an? (number|int), (at least|more than) [01]"):
        WebSocketPolicy(**{name: value})  # type: ignore[arg-type]


@for_each("name", sorted(SIZES | COUNTS | WATER))
def test_sizes_and_counts_are_whole_numbers(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name}=1.5"):
        WebSocketPolicy(**{name: 1.5})  # type: ignore[arg-type]


@for_each("name", sorted(POLICY_FIELDS - OTHERS))
def test_what_is_below_the_least_is_refused_by_name(name: str) -> None:
    least = 1 if name in COUNTS else 0
    # No time at all is nothing to wait for, but for the peer's Close; who writes 0 elsewhere means "off".
    beyond = name in SECONDS - {"close_timeout"}
    how, wrong = (f"more than {least}", least) if beyond else (f"at least {least}", least - 1)
    unit = " seconds" if name in SECONDS else "" if name in COUNTS else " bytes"
    optional = "" if name in WATER else ", or None for no limit"
    with pytest.raises(ValueError, match=f"^{name}={wrong} must be {how}{unit}{optional}$"):
        WebSocketPolicy(**{name: wrong})
    if name == "write_high_water":
        WebSocketPolicy(write_high_water=0, write_low_water=0)
    elif beyond:
        assert getattr(WebSocketPolicy(**{name: 1e-3}), name) == 1e-3
    else:
        assert getattr(WebSocketPolicy(**{name: least}), name) == least


@for_each("name", sorted(SECONDS))
def test_seconds_may_have_fractions_and_no_end_but_be_no_nan(name: str) -> None:
    assert getattr(WebSocketPolicy(**{name: 0.25}), name) == 0.25
    with pytest.raises(ValueError, match=f"^{name}=nan must be (at least|more than) 0 seconds"):
        WebSocketPolicy(**{name: math.nan})


@for_each("name", sorted(POLICY_FIELDS - CHOICES - RATIOS))
def test_what_the_core_cannot_count_with_is_refused_by_name(name: str) -> None:
    marks = {"write_high_water": sys.maxsize} if name == "write_low_water" else {}
    for value in (sys.maxsize, 2 * sys.maxsize, 10**400):
        if value == sys.maxsize:
            Limits(WebSocketPolicy(**{name: value, **marks}))
            continue
        with pytest.raises(ValueError, match=f"^{name}={value} must be at most {sys.maxsize}"):
            WebSocketPolicy(**{name: value, **marks})


@for_each("name", sorted(SECONDS | SIZES | COUNTS))
def test_none_switches_a_limit_off(name: str) -> None:
    assert getattr(WebSocketPolicy(**{name: None}), name) is None


@pytest.mark.parametrize("name", sorted(WATER))
def test_water_marks_cannot_be_switched_off(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}=None"):
        WebSocketPolicy(**{name: None})  # type: ignore[arg-type]


def test_a_ratio_is_a_number_of_at_least_one() -> None:
    assert WebSocketPolicy(max_inflate_ratio=1.5).max_inflate_ratio == 1.5
    assert WebSocketPolicy(max_inflate_ratio=None).max_inflate_ratio is None
    for bad in (0.99, 0, -1, math.nan):
        with pytest.raises(ValueError, match=f"^max_inflate_ratio={bad} must be at least 1, or None for no limit$"):
            WebSocketPolicy(max_inflate_ratio=bad)
    for wrong in ("10", True, [10]):
        with pytest.raises(TypeError, match=r"^max_inflate_ratio=.* must be a number, at least 1"):
            WebSocketPolicy(max_inflate_ratio=wrong)  # type: ignore[arg-type]


def test_low_water_is_not_above_high_water() -> None:
    WebSocketPolicy(write_high_water=10, write_low_water=10)
    with pytest.raises(ValueError, match="write_low_water=11 is above write_high_water=10; it must be at most that"):
        WebSocketPolicy(write_high_water=10, write_low_water=11)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (10, (10, 1 << 20)),
        (None, (None, None)),
        ((5, 100), (5, 100)),
        ((None, 100), (None, 100)),
        ((5, None), (5, None)),
    ],
)
def test_the_queue_is_messages_or_messages_and_bytes(given: Any, kept: object) -> None:
    assert WebSocketPolicy(max_queue=given).max_queue == kept


@pytest.mark.parametrize("given", [0, -1, (0, 10), (10, 0), (10, -1)])
def test_a_queue_holds_at_least_one(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_queue=-?\d+ must be at least 1"):
        WebSocketPolicy(max_queue=given)


@pytest.mark.parametrize("given", ["x", 1.5, True, (), (1, 2, 3), ("a", 1), [1, 2]])
def test_a_queue_is_numbers(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^max_queue="):
        WebSocketPolicy(max_queue=given)


def test_a_rate_is_a_number_above_zero() -> None:
    for name in sorted(RATES):
        assert getattr(WebSocketPolicy(**{name: 0.5}), name) == 0.5
        for value in ("10", True, [1]):
            with pytest.raises(TypeError, match=f"^{name}=.* must be a number, more than 0 "):
                WebSocketPolicy(**{name: value})
        for wrong in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match=f"^{name}={wrong} must be more than 0 "):
                WebSocketPolicy(**{name: wrong})
    with pytest.raises(TypeError, match=r"^rate_burst=None"):
        WebSocketPolicy(rate_burst=None)  # type: ignore[arg-type]


def test_a_choice_names_what_there_is_to_choose() -> None:
    with pytest.raises(ValueError, match=r"^over_rate='drop' must be 'close' or 'pause'$"):
        WebSocketPolicy(over_rate="drop")
    with pytest.raises(ValueError, match=r"^slow_consumer='x' must be 'wait', 'close', 'drop_oldest' or 'latest'$"):
        WebSocketPolicy(slow_consumer="x")
    with pytest.raises(TypeError, match=r"^slow_consumer=None"):
        WebSocketPolicy(slow_consumer=None)  # type: ignore[arg-type]


def test_replace_checks_as_the_constructor_does() -> None:
    policy = WebSocketPolicy().replace(max_message_size=5, max_queue=3)
    assert (policy.max_message_size, policy.max_queue) == (5, (3, 1 << 20))
    with pytest.raises(ValueError, match="max_message_size=-1"):
        policy.replace(max_message_size=-1)
    with pytest.raises(TypeError, match="unknown policy field 'max_mesage_size'; known: close_timeout, "):
        policy.replace(max_mesage_size=1)


def test_a_policy_is_frozen_and_given_by_name() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WebSocketPolicy().max_queue = 1  # type: ignore[misc, assignment]
    with pytest.raises(TypeError):
        WebSocketPolicy(5)  # type: ignore[misc]
    assert WebSocketPolicy() == WebSocketPolicy()
    assert hash(WebSocketPolicy()) == hash(WebSocketPolicy())


def test_a_limit_by_type_overrides_the_common_one() -> None:
    assert (WebSocketPolicy().text_limit(), WebSocketPolicy().binary_limit()) == (1 << 20, 1 << 20)
    policy = WebSocketPolicy(max_message_size=5, max_text_message_size=10)
    assert (policy.text_limit(), policy.binary_limit()) == (10, 5)
    policy = WebSocketPolicy(max_message_size=None, max_binary_message_size=0)
    assert (policy.text_limit(), policy.binary_limit()) == (None, 0)
