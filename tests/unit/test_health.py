"""What a health page says, without a server."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from typing import Any

import pytest

from firefly_ws import Request, Response, http_server
from firefly_ws.health import Health, check_table
from firefly_ws.http.headers import Headers


class Host:
    is_draining = False


def asked(accept: str = "*/*") -> Request:
    return Request("GET", "/healthz", Headers([("Accept", accept)]))


async def answer(checks: Any = (), within: float | None = 5, accept: str = "*/*") -> Response:
    found = Health(check_table(checks), within)(Host(), asked(accept))
    return found if isinstance(found, Response) else await found


async def test_without_checks_it_answers_at_once() -> None:
    found = Health({}, 5)(Host(), asked())
    assert (found.status, json.loads(found.body), found.headers["cache-control"]) == (200, {"status": "ok"}, "no-store")


async def test_who_prefers_text_gets_lines() -> None:
    got = await answer({"a": lambda: None, "b": lambda: False}, accept="text/plain, */*;q=0.1")
    assert (got.status, got.body) == (503, b"failing\na: ok\nb: failed\n")


async def test_a_server_that_drains_is_not_well_and_asks_no_check() -> None:
    host = Host()
    host.is_draining = True
    got = Health({"x": lambda: pytest.fail("asked")}, 5)(host, asked())
    assert (got.status, json.loads(got.body)) == (503, {"status": "draining"})


async def test_each_check_is_told_by_name_and_what_it_raises_by_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def slow() -> None:
        await asyncio.sleep(60)

    async def own_timeout() -> None:
        raise TimeoutError("secret")

    def broken() -> None:
        raise ValueError("secret")

    done: Future[bool] = Future()
    done.set_result(True)
    checks = {
        "slow": slow, "own_timeout": own_timeout, "broken": broken, "false": lambda: False, "none": lambda: None,
        "async": lambda: asyncio.sleep(0, True), "async_false": lambda: asyncio.sleep(0, False), "future": lambda: done,
    }  # fmt: skip
    got = await answer(checks, 0.01)
    assert got.status == 503
    assert json.loads(got.body) == {
        "status": "failing",
        "checks": {
            "slow": "timeout", "own_timeout": "failed", "broken": "failed", "false": "failed", "none": "ok",
            "async": "ok", "async_false": "failed", "future": "ok",
        },
    }  # fmt: skip
    assert list(json.loads(got.body)["checks"]) == list(checks)
    assert "secret" in caplog.text


async def test_the_log_hears_of_a_change_and_not_of_every_probe(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "firefly_ws")
    answers = iter([False, False, True, True])
    health = Health({"x": lambda: next(answers)}, 5)
    assert [health(Host(), asked()).status for _ in range(4)] == [503, 503, 200, 200]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_bad_checks_are_refused_where_they_are_given() -> None:
    def named() -> None: ...

    for checks, error, words in (
        (5, TypeError, "checks=5 must be"),
        ("ab", TypeError, "checks='ab' must be"),
        ([5], TypeError, "5: a callback must be callable"),
        ({"": named}, TypeError, "has no name"),
        ([named, named], ValueError, "two are called 'named'"),
    ):
        with pytest.raises(error, match=words):
            http_server().health(checks=checks)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout=0 "):
        http_server().health(timeout=0)
    with pytest.raises(ValueError, match="already registered"):
        http_server().health().health()
    assert list(check_table([named])) == ["named"]
