"""What does the disk of an HSM process keep, and what when it is full?"""

import shutil

import pytest

from pytest_hsmcluster.processes.database import NAME, Database, DeadDisk, DiskFull

USERS = [("zoe", "CU", 2, b"digest of zoe"), ("admin", "CO", 1, b"digest of admin")]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "hsm-1"
    folder.mkdir()
    return folder


@pytest.fixture
def base(folder):
    base = Database(folder)
    yield base
    base.close()


def key(handle, length=300, tombstoned=False):
    """A key's row: its masked object has no meaning here."""
    return handle, bytes([handle % 256]) * length, tombstoned


def rows(base):
    return [(handle, len(masked), tombstoned) for handle, masked, tombstoned in base.rows()]


def test_new_disk_is_empty_and_private(folder, base):
    assert (base.rows(), base.users(), base.told, base.check()) == ([], ([], {}), (0, b""), "ok")
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_there_when_the_disk_is_opened_again(folder, base):
    """Keys in the order of their handles, users in the order in which they were made, and the last report."""
    base.write(1, b"first", keys=[key(9), key(4, tombstoned=True)])
    base.write(2, b"second", users=USERS, failures={"zoe": 2})
    base.write(3, b"third", keys=[key(9, 310), key(7)], gone=[4])
    base.close()

    again = Database(folder)
    assert rows(again) == [(7, 300, False), (9, 310, False)]
    assert again.users() == (USERS, {"zoe": 2})
    assert again.told == (3, b"third")
    again.close()


def test_commits_wait_for_the_disk(base):
    """Write-ahead log, and fsync at each commit; that a machine may lose power is what no test here can show."""
    assert base._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert base._base.execute("PRAGMA synchronous").fetchone() == (2,)


def test_disk_of_a_process_that_died_at_once_can_be_used(folder):
    """It had made the file, or not even that; there is nothing in it yet."""
    with DeadDisk(folder) as disk:
        assert (disk.rows(), disk.told) == ([], (0, b""))
    (folder / NAME).touch(mode=0o600)
    with DeadDisk(folder) as disk:
        assert (disk.rows(), disk.told) == ([], (0, b""))
    base = Database(folder)
    base.write(1, b"report", keys=[key(1)])
    assert rows(base) == [(1, 300, False)]
    base.close()


# -- full ----------------------------------------------------------------------------------------


def test_full_disk_takes_no_key_and_forgets_nothing(base):
    """Neither does a part of what belongs together come; the last report stays what it was."""
    base.write(1, b"report", keys=[key(1)])
    base.limit(full=True)
    told = base.told
    for new in ([key(2, 10)], [key(2, 3000)], [key(1, 320), key(2)]):
        with pytest.raises(DiskFull):
            base.write(2, b"more", keys=new)
    assert (rows(base), base.told, base.users()[1]) == ([(1, 300, False)], told, {})


def test_pages_that_are_free_are_no_room_on_a_full_disk(base):
    """Of keys that were deleted before, or since; and of a report that was long and has been told."""
    base.write(1, b"long" * 1000, keys=[key(handle) for handle in range(1, 9)])
    base.write(2, b"long" * 1000, gone=[1, 2, 3])
    base.limit(full=True)
    with pytest.raises(DiskFull):
        base.write(3, b"", keys=[key(1, 10)])
    base.write(3, b"short", gone=[4, 5, 6])
    with pytest.raises(DiskFull):
        base.write(4, b"", keys=[key(1, 10)])
    assert rows(base) == [(7, 300, False), (8, 300, False)]


@pytest.mark.parametrize("length", [100, 300, 511, 512, 513, 1200])
def test_keys_change_in_their_place_on_a_full_disk(base, length):
    """They may be shared, renamed and marked for deletion there: each has half a kilobyte of room to grow."""
    base.write(1, b"report", keys=[key(handle, length) for handle in range(1, 6)])
    base.limit(full=True)
    for number, longer in enumerate((0, 60, 200, 450, 40)):
        base.write(number + 2, b"changed", keys=[key(3, length + longer, tombstoned=number > 3)])
    assert rows(base)[2] == (3, length + 40, True)


def test_users_find_room_on_a_full_disk(base):
    """It has none for keys: which page a further user would need is nothing that a test could know."""
    base.limit(full=True)
    base.write(1, b"report", users=[(f"user {number}", "CU", number, bytes(100)) for number in range(50)])
    base.write(2, b"report", failures={f"user {number}": 1 for number in range(50)})
    assert (len(base.users()[0]), len(base.users()[1])) == (50, 50)
    with pytest.raises(DiskFull):
        base.write(3, b"report", keys=[key(1)])


def test_disk_that_is_cleared_takes_keys_again(base):
    base.limit(full=True)
    base.limit(full=False)
    base.write(1, b"report", keys=[key(handle, 1000) for handle in range(500)])
    assert len(base.rows()) == 500
    assert base.check() == "ok"


def test_disk_is_full_until_it_is_closed(folder, base):
    """Whoever starts its process again says again whether it is full."""
    base.limit(full=True)
    base.close()
    again = Database(folder)
    again.write(1, b"report", keys=[key(1)])
    again.close()


# -- of the dead ------------------------------------------------------------------------------------


def test_dead_disk_shows_what_was_committed_last_and_leaves_the_original_alone(folder, base):
    """It stands in the write-ahead log alone, which nobody has closed."""
    base.write(1, b"report", keys=[key(1)])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [*sorted(before)] == [NAME, f"{NAME}-shm", f"{NAME}-wal"]
    with DeadDisk(folder) as disk:
        assert (rows(disk), disk.told, disk.check()) == ([(1, 300, False)], (1, b"report"), "ok")
        disk.write(2, b"only in the copy", keys=[key(2)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_was_not_committed_is_not_there(folder, base):
    """A process is killed in the middle of a transaction."""
    base.write(1, b"report", keys=[key(1)])
    base._base.execute("PRAGMA cache_spill=1")
    base._base.execute("PRAGMA cache_size=1")
    base._base.execute("BEGIN IMMEDIATE")
    base._base.executemany(
        "INSERT INTO keys VALUES (?, ?, 0, x'')", [(handle, bytes(2000)) for handle in range(2, 200)]
    )
    assert (folder / f"{NAME}-wal").stat().st_size > 198 * 2000
    with DeadDisk(folder) as disk:
        assert (rows(disk), disk.check()) == ([(1, 300, False)], "ok")
    base._base.execute("ROLLBACK")


def test_database_without_its_log_lacks_what_was_committed_last(folder, base, tmp_path):
    """Which is why a copy is of all three files: the one alone invents lost keys."""
    base.write(1, b"report", keys=[key(1)])
    base._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    base.write(2, b"report", keys=[key(2)])
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / NAME, alone)
    with DeadDisk(alone) as disk:
        assert rows(disk) == [(1, 300, False)]
    with DeadDisk(folder) as disk:
        assert rows(disk) == [(1, 300, False), (2, 300, False)]


def test_damage_is_said(folder, base):
    """SQLite looks through every page, also those that nobody would read."""
    base.write(1, b"report", keys=[key(handle) for handle in range(1, 40)])
    base.close()
    content = bytearray((folder / NAME).read_bytes())
    content[-512 * 12 :] = bytes(512 * 12)
    (folder / NAME).write_bytes(content)
    with DeadDisk(folder) as disk:
        assert disk.check() != "ok"
