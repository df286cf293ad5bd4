from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicdn.core.counters import COUNTERS, GAUGES
from minicdn.core.metrics import COUNTER, GAUGE, OTHERS, Metric, exposition, metric_name, metrics_of, metrics_of_peers
from minicdn.core.roster import Member, SeatView
from minicdn.core.targets import targets
from tests.kit.metrics import read_metrics

STATS = {name: number for number, name in enumerate([*COUNTERS, *GAUGES])}


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("requests_count", "minicdn_requests_total"),
        ("responses_4xx_count", "minicdn_responses_4xx_total"),
        ("upstream_received_bytes", "minicdn_upstream_received_bytes_total"),
        ("disk_entries_count", "minicdn_disk_entries"),
        ("disk_used_bytes", "minicdn_disk_used_bytes"),
        ("up_cap_bytes_per_second", "minicdn_up_cap_bytes_per_second"),
        ("uptime_seconds", "minicdn_uptime_seconds"),
    ],
)
def test_names_follow_from_those_of_stats(name: str, metric: str) -> None:
    assert metric_name(name) == (metric, ())


def test_bytes_by_source_are_one_metric() -> None:
    assert metric_name("bytes_disk") == ("minicdn_client_bytes_total", (("source", "disk"),))


def test_every_counter_and_gauge_is_there_once_with_its_value() -> None:
    found = read_metrics(exposition(metrics_of(STATS)))
    assert found == {metric_name(name): value for name, value in STATS.items()}
    assert len(found) == len(STATS)


def test_each_metric_has_one_type_one_meaning_and_a_conventional_name() -> None:
    text = exposition(metrics_of(STATS))
    for kind, names in ((COUNTER, COUNTERS), (GAUGE, GAUGES)):
        for name in {metric_name(name)[0] for name in names}:
            assert text.count(f"# TYPE {name} {kind}\n") == text.count(f"# HELP {name} ") == 1
            assert name.endswith("_total") == (kind == COUNTER)
            assert re.fullmatch(r"minicdn_[a-z0-9_]+", name) and not name.endswith("_count")
    assert f"# HELP minicdn_hits_total {COUNTERS['hits_count']}\n" in text


def test_a_number_without_a_meaning_is_not_shown_by_accident() -> None:
    with pytest.raises(KeyError):
        metrics_of({"surprises_count": 1})


def test_what_would_end_a_line_or_a_value_is_escaped() -> None:
    metric = Metric("m", GAUGE, 'a\\b\n"c"', (((("peer", 'x\\y\n"z"'),), 1),))
    assert exposition([metric]) == '# HELP m a\\\\b\\n"c"\n# TYPE m gauge\nm{peer="x\\\\y\\n\\"z\\""} 1\n'


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\\n"{},=# '), max_size=12)


@given(TEXTS, st.integers(0, 1 << 63) | st.floats())
def test_any_value_of_a_label_comes_back_as_it_was(text: str, number: float) -> None:
    [(key, value)] = read_metrics(exposition([Metric("m", GAUGE, "why", (((("a", text), ("b", "")), number),))])).items()
    assert key == ("m", (("a", text), ("b", "")))
    assert float(value) == float(number) or number != number


def seat(name: str, *, is_listed: bool = True) -> SeatView:
    return SeatView(Member(name, f"http://{name}:11001", share=0.5), 2.0, is_listed, 1e6)


def test_each_peer_is_there_by_its_url_listed_or_not() -> None:
    found = read_metrics(exposition(metrics_of_peers([seat("anna"), seat("carl"), seat("bob", is_listed=False)])))
    assert found[("minicdn_peers_unlisted", ())] == 1
    for url in ("http://anna:11001", "http://bob:11001"):
        labels = (("peer", url),)
        assert found[("minicdn_peer_uplink_bytes_per_second", labels)] == 1e6
        assert found[("minicdn_peer_share", labels)] == 0.5
    assert {name for name, _ in found} <= set(OTHERS)


def test_without_peers_no_metric_is_there_without_a_sample() -> None:
    assert [metric.name for metric in metrics_of_peers([])] == ["minicdn_peers_unlisted"]


def test_targets_name_address_scheme_and_path() -> None:
    found = targets("https://cdn.example", ["http://10.0.0.5:11001", "https://[2001:db8::7]", "http://bob", "https://[2001:db8::7]:11001"])
    addresses = [["cdn.example:443"], ["10.0.0.5:11001", "bob:80"], ["[2001:db8::7]:443", "[2001:db8::7]:11001"]]
    assert [target["targets"] for target in found] == addresses
    assert [target["labels"]["__scheme__"] for target in found] == ["https", "http", "https"]
    assert {target["labels"]["__metrics_path__"] for target in found} == {"/_metrics"}
    assert [target["labels"]["__meta_minicdn_role"] for target in found] == ["manager", "peer", "peer"]


def test_a_manager_that_does_not_know_its_url_is_no_target() -> None:
    assert targets(None, []) == []
