"""Which mistakes can be made in the service, its HSMs and the network?"""

from .mistake import Mistake

HSM = "service/hsm.py"
STORE = "service/keystore.py"
SWEEP = "service/replication.py"
SERVICE = "service/service.py"
NETWORK = "network/simulated.py"

IN_SERVICE = (
    Mistake(
        "held-before-commit",
        HSM,
        """            if (struck := reach(Point.HSM_COMMIT, call)) is not None:
                yield from self._trouble.strike(struck, call)
            answer = self.settle(call, worked)
""",
        """            answer = self.settle(call, worked)
            if (struck := reach(Point.HSM_COMMIT, call)) is not None:
                yield from self._trouble.strike(struck, call)
""",
        "the key is in the store before `hsm.commit` is reached",
    ),
    Mistake(
        "sharers-own",
        HSM,
        "        if key.owner != session.user:\n",
        "        if not key.usable_by(session.user):\n",
        "whoever a key is shared with may delete it",
    ),
    Mistake(
        "session-keys-seen-by-all",
        HSM,
        "if key is None or not key.visible_in(session.number):",
        "if key is None:",
        "a session key can be used from another session",
    ),
    Mistake(
        "logins-survive-a-crash",
        HSM,
        "        self._sessions.clear()\n",
        "",
        "an HSM that was off knows who was logged in",
    ),
    Mistake(
        "session-keys-survive-a-crash",
        HSM,
        "        self._sessions.clear()\n        self.store.end_session_keys(None, cause)\n",
        "        self._sessions.clear()\n",
        "an HSM that was off still has session keys",
    ),
    Mistake(
        "full-hsm-takes-one-more",
        STORE,
        "if len(self) >= self.capacity:",
        "if len(self) > self.capacity:",
        "capacity is off by one for copies",
    ),
    Mistake(
        "room-for-one-fewer",
        HSM,
        "if len(self.store) + count > self.store.capacity:",
        "if len(self.store) + count >= self.store.capacity:",
        "capacity is off by one for new keys",
    ),
    Mistake(
        "late-copy-beats-tombstone",
        STORE,
        "        if key.handle in self.tombstones:\n",
        "        if key.handle in self.tombstones and source is None:\n",
        "a copy that comes late brings a key back that was marked for deletion",
    ),
    Mistake(
        "logout-ends-everybodys-keys",
        STORE,
        "if key.session is not None and session in (None, key.session):",
        "if key.session is not None:",
        "a logout ends the session keys of all clients",
    ),
    Mistake(
        "user-tables-are-one",
        "service/accounts.py",
        "return Accounts(dict(self.users), dict(self.failures))",
        "return Accounts(self.users, dict(self.failures))",
        "all HSMs share one table of users, so that accounts cannot drift apart",
    ),
    Mistake(
        "lock-out-off-by-one",
        "service/accounts.py",
        "self.failures.get(name, 0) > limit",
        "self.failures.get(name, 0) >= limit",
        "an account is locked one bad password too early",
    ),
    Mistake(
        "sweep-forgets-hsms-that-are-off",
        SWEEP,
        "        if len(states) < 2:\n",
        "        if len(states) < 3:\n",
        "the sweep looks at each key once, and whoever is off then never gets it",
    ),
    Mistake(
        "sweep-needs-the-first-hsm",
        SWEEP,
        "            if hsm.state is HsmState.UP and key is not None and key.token",
        "            if hsm.id == 'hsm-1' and hsm.state is HsmState.UP and key is not None and key.token",
        "the sweep knows one holder only",
    ),
    Mistake(
        "sweep-crosses-partitions",
        SWEEP,
        " and key.token and self._world.linked(hsm.id, to.id)",
        " and key.token",
        "the sweep copies between HSMs that cannot reach each other",
    ),
    Mistake(
        "sweep-copies-to-whoever-was-up",
        SWEEP,
        "if key is None or holder.state is not HsmState.UP or to.state is not HsmState.UP:",
        "if key is None or holder.state is not HsmState.UP:",
        "a copy that is delayed comes to an HSM that went off meanwhile",
    ),
    Mistake(
        "requests-survive-a-crash",
        SERVICE,
        "        hsm.cut_off()\n",
        "",
        "what an HSM was working on is done although its power went off",
    ),
    Mistake(
        "oldest-backup-is-taken",
        SERVICE,
        "list(self.backups.values())[-1]",
        "list(self.backups.values())[0]",
        "an HSM joins from the oldest backup",
    ),
    Mistake(
        "tombstones-are-restored-alive",
        SERVICE,
        "            hsm.store.tombstone(key.handle, cause)\n",
        "            continue\n",
        "keys marked for deletion come back with an HSM that joins",
    ),
    Mistake(
        "joined-hsm-is-never-levelled",
        SERVICE,
        "for handle in (*hsm.store.keys, *joined.store.keys):",
        "for handle in joined.store.keys:",
        "a key made while an HSM joined never comes to it",
    ),
    Mistake(
        "session-keys-in-backups",
        "service/backup.py",
        "tuple(hsm.store.token_keys()),",
        "tuple(hsm.store.keys.values()),",
        "session keys are backed up, and join with a new HSM",
    ),
    Mistake(
        "tombstone-counts-as-held",
        "service/commands/lookups.py",
        "return self.handle in hsm.store.keys",
        "return self.handle in hsm.store.keys or self.handle in hsm.store.tombstones",
        "SDK 5's check takes a key that is marked for deletion for available",
    ),
    Mistake(
        "find-shows-foreign-keys",
        "service/commands/lookups.py",
        "            if key.usable_by(session.user)\n            and key.visible_in",
        "            if key.visible_in",
        "find lists the keys of other users",
    ),
    Mistake(
        "sharing-replaces",
        "service/commands/changes.py",
        "shares = (*others, self.user) if self.shared else others",
        "shares = (self.user,) if self.shared else others",
        "who shares a key with a second user takes it from the first",
    ),
    Mistake(
        "copies-without-shares",
        "service/commands/copies.py",
        "key.attributes, key.owner, key.shares)",
        "key.attributes, key.owner, ())",
        "a copy forgets with whom its key is shared",
    ),
    Mistake(
        "partition-one-way",
        NETWORK,
        "ways = [(a, b), (b, a)] if direction == BOTH else [(a, b)]",
        "ways = [(a, b)] if direction == BOTH else [(a, b), (b, a)]",
        "a partition cuts one way where both are meant",
    ),
    Mistake(
        "partition-is-never-healed",
        NETWORK,
        "            if left > 0:\n",
        "            if left >= 0:\n",
        "the end of a partition changes nothing",
    ),
    Mistake(
        "answers-pass-partitions",
        NETWORK,
        "if self._cut and self.is_cut(hsm.id, call.client):",
        "if self._cut and self.is_cut(call.client, hsm.id):",
        "answers get through where only they are cut off",
    ),
    Mistake(
        "the-dead-answer",
        NETWORK,
        "            if not hsm.alive:\n",
        "            if hsm.paused:\n",
        "an HSM that is off serves requests, a paused one refuses them",
    ),
    Mistake(
        "corruption-changes-nothing",
        NETWORK,
        "bytes([blob[middle] ^ 1])",
        "bytes([blob[middle] ^ 0])",
        "a damaged masked object arrives whole",
    ),
)
