"""Standard input and output on a loop, with pipes in their place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

import pytest

from firefly_ws.cli import streams


@contextmanager
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    read, write = os.pipe()
    with FileIO(read, "r") as source, FileIO(write, "w") as sink:
        yield source, sink


async def test_lines_are_cut_wherever_the_pieces_are() -> None:
    text = b"one\r\n\ntwo\rx\n" + b"y" * 200_000 + b"\nlast"
    expected = [b"one", b"", b"two\rx", b"y" * 200_000, b"last"]
    for step in (1, 3, len(text)):
        with pipe() as (read, write):
            got: list[bytes] = []

            async def collect(read: FileIO = read, got: list[bytes] = got) -> None:
                async for line in streams.lines(read.fileno()):
                    got.append(line)

            task = asyncio.create_task(collect())
            begin, rest = text[:20], text[20:]
            for start in range(0, len(begin), step):
                os.write(write.fileno(), begin[start : start + step])
            await asyncio.to_thread(streams._write, write.fileno(), rest)
            write.close()
            await asyncio.wait_for(task, 5)
            assert got == expected, step


async def test_a_line_beyond_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LINE_LIMIT", 10)
    with pipe() as (read, write):
        os.write(write.fileno(), b"short\nmuch too long")
        write.close()
        got = streams.lines(read.fileno())
        assert await anext(got) == b"short"
        with pytest.raises(streams.LineTooLong, match="line 2 of the input is longer than 10 bytes"):
            await anext(got)


async def test_output_makes_wait_who_puts_faster_than_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_HIGH", 100_000)
    with pipe() as (read, write):
        output = streams.Output(write.fileno())
        assert output.put(b"a" * 100) is None
        waiting = output.put(b"b" * 300_000)
        assert waiting is not None
        draining = asyncio.create_task(output.drain())
        got = 0
        while got < 300_100:
            got += len(await asyncio.to_thread(os.read, read.fileno(), 65536))
        await asyncio.wait_for(asyncio.gather(waiting, draining), 5)
        assert got == 300_100


async def test_a_reader_that_went_away_is_told_and_nobody_waits_for_it() -> None:
    with pipe() as (read, write):
        read.close()
        output = streams.Output(write.fileno())
        output.put(b"x")
        assert isinstance(await asyncio.wait_for(output.broken, 5), BrokenPipeError)
        assert output.put(b"y" * 10_000_000) is None
        await asyncio.wait_for(output.drain(), 5)


async def test_what_is_not_blocking_is_waited_for() -> None:
    with pipe() as (read, write):
        os.set_blocking(read.fileno(), False)
        os.set_blocking(write.fileno(), False)
        output = streams.Output(write.fileno())
        output.put(b"z" * 200_000 + b"\n")
        async for line in streams.lines(read.fileno()):
            assert line == b"z" * 200_000
            await asyncio.wait_for(output.drain(), 5)
            write.close()
