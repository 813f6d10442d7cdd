"""Slots: a pool has as many as it is told, each is held by a lease, and a look for one costs next to nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from common.errors import LeaseLost
from common.jobs import LEASE
from common.slots import FULL_FOR, Pool, Slot, Slots, owner_pool, task_pool
from common.wiring import Services
from tests.aws import Clock
from tests.functions.places import Calls, another


@pytest.fixture
def slots(services: Services) -> Slots:
    return services.slots


def test_there_are_as_many_slots_as_the_pool_has(services: Services, clock: Clock) -> None:
    pool = Pool("p", 3)
    taken = [another(services).take(pool, f"t{n}", clock()) for n in range(5)]
    assert sorted(slot.number for slot in taken if slot) == [0, 1, 2]
    assert taken[3:] == [None, None]


def test_pools_do_not_touch_each_other(slots: Slots, clock: Clock) -> None:
    for pool in (owner_pool("a", 1), owner_pool("b", 1), task_pool("a", 1)):
        assert slots.take(pool, "t", clock())


def test_a_released_slot_is_free_at_once(slots: Slots, clock: Clock) -> None:
    slot = slots.take(Pool("p", 1), "a", clock())
    assert slot
    assert slots.take(Pool("p", 1), "b", clock()) is None
    slots.release(slot)
    assert slots.take(Pool("p", 1), "b", clock())


def test_a_dead_holder_s_slot_is_free_when_its_lease_ends(services: Services, clock: Clock) -> None:
    assert another(services).take(Pool("p", 1), "dead", clock())
    clock.advance(LEASE - 0.001)
    assert another(services).take(Pool("p", 1), "next", clock()) is None
    clock.advance(0.001)
    assert another(services).take(Pool("p", 1), "next", clock())


def test_a_renewed_slot_is_held_on(services: Services, slots: Slots, clock: Clock) -> None:
    slot = slots.take(Pool("p", 1), "a", clock())
    assert slot
    for _ in range(5):
        clock.advance(20)
        slots.renew(slot, clock())
    assert another(services).take(Pool("p", 1), "b", clock()) is None


def test_who_lost_a_slot_can_neither_renew_nor_release_it(services: Services, slots: Slots, clock: Clock) -> None:
    lost = slots.take(Pool("p", 1), "frozen", clock())
    assert lost
    clock.advance(LEASE)
    assert another(services).take(Pool("p", 1), "next", clock()) == Slot("p", 0, "next")
    with pytest.raises(LeaseLost):
        slots.renew(lost, clock())
    slots.release(lost)
    assert another(services).take(Pool("p", 1), "third", clock()) is None


def test_a_write_whose_answer_was_lost_finds_its_own(services: Services, clock: Clock) -> None:
    """botocore repeats it as it was."""
    first = another(services).take(Pool("p", 1), "mine", clock())
    assert another(services).take(Pool("p", 1), "mine", clock()) == first


def test_a_place_costs_one_write_where_there_is_room(slots: Slots, clock: Clock, calls: Calls) -> None:
    slot = slots.take(Pool("p", 100), "a", clock())
    assert [name for name, _ in calls] == ["UpdateItem"]
    assert slot
    slots.release(slot)
    assert [name for name, _ in calls] == ["UpdateItem", "UpdateItem"]


def test_a_full_pool_is_looked_through_once_and_then_believed_for_a_moment(
    services: Services, slots: Slots, clock: Clock, calls: Calls
) -> None:
    pool = Pool("p", 50)
    for n in range(50):
        assert another(services).take(pool, f"t{n}", clock())
    assert slots.take(pool, "late", clock()) is None
    assert Counter(name for name, _ in calls) == {"UpdateItem": 2, "Query": 1}
    calls.clear()
    assert slots.take(pool, "late", clock()) is None
    assert calls == []
    clock.advance(FULL_FOR)
    assert slots.take(pool, "late", clock()) is None
    assert calls


def test_the_last_free_slot_is_found(services: Services, clock: Clock) -> None:
    in_order = another(services, pick=lambda size: list(range(size)))
    pool = Pool("p", 40)
    for n in range(39):
        assert in_order.take(pool, f"t{n}", clock())
    found = in_order.take(pool, "last", clock())
    assert found
    assert found.number == 39
