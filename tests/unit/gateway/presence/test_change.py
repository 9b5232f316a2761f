"""What a client's presence is called in Redis, under each incarnation of its node."""

from __future__ import annotations

import pytest

from gateway.presence.change import Change, field_of, fields_under


@pytest.mark.parametrize(
    ("incarnation", "is_under"), [("n-1", True), ("n-10", False), ("n", False), ("n-0", False)]
)
def test_a_change_is_under_the_incarnation_that_it_names_and_under_no_other(
    incarnation: str, is_under: bool
) -> None:
    assert Change(field_of("n-1", "c1"), b"{}").is_under(incarnation) is is_under


def test_the_pattern_of_an_incarnation_begins_as_each_of_its_fields() -> None:
    assert fields_under("n-1").removesuffix("*") + "c1" == field_of("n-1", "c1") == "n-1/c1"
