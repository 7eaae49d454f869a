"""What must be so once all trouble is over?

Everything is taken back, HSMs that are off are switched on, time passes for whoever joins and reconnects, and the
service makes its rounds.  Then all HSMs hold the same token keys, and every application reaches every HSM.
"""

from collections.abc import Iterator
from contextlib import suppress

from pytest_hsmcluster import ClusterError, HsmState
from pytest_hsmcluster.client.blocking import Client
from pytest_hsmcluster.stories.playing import Player
from pytest_hsmcluster.stories.story import Story

from .view import View

JOINED_S = 400
"""Longer than an HSM takes to join, and than any time-out or delay."""


def settle(player: Player, story: Story) -> Iterator[str]:
    """End all trouble, and yield what is not as it should be then."""
    cluster = player.cluster
    held = View.of(cluster)
    began = len(cluster.history.records)
    cluster.chaos.undo_all()
    for _ in range(2):  # what was late may switch one off again
        for hsm in cluster.hsms:
            if hsm.state is HsmState.DOWN:
                cluster.chaos.restart(hsm.id)
        cluster.clock.run_until_idle()
        cluster.clock.advance(JOINED_S)
    for _ in range(2):
        cluster.sweep_now()
    view = View.of(cluster)
    gone = {record[5]: None for record in cluster.history.records[began:] if record[0] in ("gone", "tombstoned")}
    yield from _levelled(view, held, dict(story.shape.settings), gone)
    for app in list(player.things.values()):
        if isinstance(app, Client) and app.alive and app.user is not None:
            yield from _reached(player, app, view)


def _levelled(view: View, held: View, settings: dict[str, object], gone: dict[int, None]) -> Iterator[str]:
    """All HSMs hold the same token keys: those that any of them held."""
    for hsm, state in view.states.items():
        if state not in ("up", "lost"):
            yield f"{hsm} is {state} when all is over"
    marked = {handle: None for tombs in view.tombstones.values() for handle in tombs}
    if settings.get("sweep_remembers_deletes"):
        return  # then a key that one HSM alone missed to delete stays where it is
    contents = {hsm: [key for key in keys if key not in marked] for hsm, keys in _tokens(view).items()}
    for hsm, keys in contents.items():
        for other, more in contents.items():
            lacking = [key for key in more if key not in keys]
            if lacking:
                yield f"{hsm} lacks {lacking}, which {other} has, after the service's rounds"
    survivors = [hsm for hsm, state in view.states.items() if state == "up"]
    for hsm, keys in _tokens(held).items():
        for key in keys:
            if hsm in survivors and key not in gone and not view.holders(key):
                yield f"key {key} of {hsm} is nowhere when all is over"


def _tokens(view: View) -> dict[str, list[int]]:
    there = [hsm for hsm, state in view.states.items() if state not in ("lost", "joining")]
    return {hsm: [handle for handle, key in view.keys[hsm].items() if key.token] for hsm in there}


def _reached(player: Player, app: Client, view: View) -> Iterator[str]:
    """A search asks every HSM and finds what its user may see."""
    records = player.cluster.history.records
    with suppress(ClusterError):
        app.find_keys()  # a client that has not heard of a restart learns of it now, and logs in again next time
    began, user = len(records), app.user
    known = [hsm for hsm in view.up() if user in view.users[hsm]]
    if user is None or not known:
        return
    try:
        found = {key.number: None for key in app.find_keys()}
    except ClusterError as error:
        yield f"{app.name} can find nothing when all is over: {error}"
        return
    asked = {r[6]: None for r in records[began:] if r[0] == "reach" and (r[3], r[5]) == ("client.receive", "find_keys")}
    for hsm in known:
        if hsm not in asked:
            yield f"{app.name} did not ask {hsm}, which is up, and nothing is in the way"
        for handle, key in view.keys[hsm].items():
            if hsm in asked and key.token and key.usable_by(user) and handle not in found:
                yield f"{app.name} did not find {key.name}, which {hsm} has"
