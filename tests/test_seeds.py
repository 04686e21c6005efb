"""Derived seeds: the same words give the same seed, any other word another one."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from ptycho.seeds import derive

ROLES = ("object", "scan", "noise", "initialisation")


@given(seed=st.integers(0, 2**40), roles=st.lists(st.text("abc", max_size=8), max_size=4))
def test_the_same_words_give_the_same_32_bit_seed(seed, roles):
    first = derive(seed, *roles)
    assert first == derive(seed, *roles)
    assert type(first) is int and 0 <= first < 2**32


def test_values_are_those_of_every_machine_and_session():
    assert [derive(1, "object"), derive(1, "scan"), derive(2, "object")] == [2089941752, 366537681, 2397465643]


def test_trap_roles_splits_and_seeds_share_no_random_numbers():
    words = list(product(range(20), ROLES, ("train", "heldout"), ("1e9", "1e4")))
    assert len({derive(seed, *roles) for seed, *roles in words}) == len(words)


def test_roles_are_words_not_a_string():
    assert derive(1, "noise", "train") != derive(1, "noisetrain")
    assert derive(1, "noise", "train") != derive(1, "train", "noise")
