"""Adding up what servers have done, without a server."""

from __future__ import annotations

from math import inf

from firefly_ws.counts import Counts, Histogram


def test_a_duration_counts_for_its_bound_and_all_above() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 0.3, 60.0):
        histogram.observe(seconds)
    found = dict(histogram.cumulative())
    assert [found[bound] for bound in (0.001, 0.0025, 0.25, 0.5, 10.0, inf)] == [2, 3, 3, 4, 4, 5]
    assert histogram.sum == 0.0 + 0.001 + 0.0011 + 0.3 + 60.0
    other = Histogram()
    other.merge(histogram)
    other.merge(histogram)
    assert list(other.cumulative())[-1] == (inf, 10)


def test_the_counts_of_two_servers_add_up_and_change_neither() -> None:
    first = Counts(refused={404: 1}, abandoned=1, http_requests={("GET", 200): 2}, http_connections=1, http_errors=1)
    second = Counts(refused={404: 2, 403: 1}, http_requests={("GET", 204): 1, ("POST", 500): 1}, handshaking=3)
    found = Counts()
    for counts in (first, second):
        found.merge(counts)
    assert found.refused == {404: 3, 403: 1}
    assert found.http_classes == {("GET", "2xx"): 3, ("POST", "5xx"): 1}
    assert (found.abandoned, found.http_connections, found.http_errors, found.handshaking) == (1, 1, 1, 3)
    assert first.refused == {404: 1}
    stats = found.stats()
    assert (stats["refused"], stats["http_requests"], stats["http_answers"]) == (4, 4, {"2xx": 3, "5xx": 1})
