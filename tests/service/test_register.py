"""Numbers that a cluster gives out."""

import pytest

from pytest_hsmcluster.cryptoki import CKA
from pytest_hsmcluster.keys.attributes import new_attributes
from pytest_hsmcluster.keys.material import generate_pair, generate_secret
from pytest_hsmcluster.keys.source import SystemSource
from pytest_hsmcluster.service.register import FIRST_HANDLE, Register


@pytest.fixture
def register():
    return Register()


def test_handles_count_up_from_0x40000(register):
    """Like those of published samples."""
    assert FIRST_HANDLE == 0x40000
    assert register.birth("mat-1") == (0x40000, "key-1")
    assert register.birth("mat-2") == (0x40001, "key-2")


def test_wanted_handle_is_taken_over_when_it_is_free(register):
    """A clone of a cluster keeps the handles of the backup."""
    assert register.birth("mat-1", 300_000) == (300_000, "key-1")
    assert register.birth("mat-2") == (300_001, "key-2")


def test_taken_handle_is_replaced_by_a_new_one(register):
    """Two keys never share a handle, not even one after the other."""
    register.birth("mat-1")

    assert register.birth("mat-2", 0x40000) == (0x40001, "key-2")


def test_both_halves_of_a_pair_are_one_material(register):
    """mat-N names key material, and a pair has one."""
    public, private = generate_pair("EC", "secp256r1", SystemSource())

    assert register.material(public) == register.material(private) == "mat-1"


def test_other_material_has_another_name(register):
    """mat-N is equal for equal bytes only."""
    one, two = (generate_secret("AES", 256, SystemSource()) for _ in range(2))

    assert register.material(one) != register.material(two)
    assert register.material(one) == "mat-1"


def test_changed_attributes_are_those_that_differ_from_birth(register):
    """What was set anew, by name."""
    born = new_attributes("AES", 4, origin="generate", label="a", token=True, template=None, bits=256)
    handle, _ = register.birth("mat-1")
    register.attributes[handle] = born

    assert register.changed(handle, born) == ()
    assert register.changed(handle, born.with_changes({CKA.LABEL: "b", CKA.ENCRYPT: True})) == (
        ("encrypt", True),
        ("label", "b"),
    )


def test_handles_set_aside_are_not_taken_over():
    """An HSM that has a block to itself gives out its handles; a key that brings one of them gets another."""
    register = Register()
    block = register.block(16)

    assert register.birth("mat-1", block + 3) == (block + 16, "key-1")
    assert register.enter("mat-2", block + 3) == "key-2"


def test_clone_gives_out_none_of_its_parents_handles():
    """Nor those that it leaves free for what the parent makes later."""
    register = Register()
    register.inherit([300_000, 300_007])
    register.skip(100)

    assert register.inherited
    assert register.block(16) == 300_108
    assert register.birth("mat-1", 300_050) == (300_050, "key-1")
