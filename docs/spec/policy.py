"""The policy of a group, as policy.md has it: how it is read, and which commits it allows."""

GROUP_DATA, ENCRYPTED_HANDSHAKES = 0xF7E1, 0xF7E2

ACTIONS = (
    "add_member remove_member modify_name modify_message_timer modify_receipt_mode "
    "modify_access modify_other_member modify_add_permission leave delete"
).split()
ALL = (1 << len(ACTIONS)) - 1
PREDEFINED = {"admin": ALL, "member": 1 << ACTIONS.index("leave")}


class Refused(Exception):
    """Not a policy, or not a commit that the rules allow."""


def check(condition, what):
    if not condition:
        raise Refused(what)


# --- CBOR (RFC 8949), in the form of its section 4.2.1 ----------------------------------------------------------------


def read(data, at=0):
    """An item, and where it ends."""
    check(at < len(data), "it is cut")
    major, length = data[at] >> 5, data[at] & 0x1F
    at += 1
    if major == 7:
        check(length in (20, 21, 22), "a simple value")
        return {20: False, 21: True, 22: None}[length], at
    check(length < 28, "an indefinite length")
    if length >= 24:
        size = 1 << (length - 24)
        check(at + size <= len(data), "it is cut")
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major == 0:
        return length, at
    if major in (2, 3):
        check(at + length <= len(data), "it is cut")
        part = data[at : at + length]
        try:
            return (part if major == 2 else part.decode()), at + length
        except UnicodeDecodeError as error:
            raise Refused("a text") from error
    check(major == 4 and length <= len(data), "an array")
    items = []
    for _ in range(length):
        item, at = read(data, at)
        items.append(item)
    return items, at


def head(major, length):
    if length < 24:
        return bytes([major << 5 | length])
    size = next(n for n in range(4) if length < 1 << (8 << n))
    return bytes([major << 5 | 24 + size]) + length.to_bytes(1 << size, "big")


def write(item):
    if item is None or isinstance(item, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[item]
    if isinstance(item, int):
        return head(0, item)
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(write(one) for one in item)
    data = item.encode() if isinstance(item, str) else item
    return head(3 if isinstance(item, str) else 2, len(data)) + data


# --- The policy -------------------------------------------------------------------------------------------------------


def is_of(item, *kinds):
    """Whether an item is a list of things of these kinds; a number is how many bytes there are."""
    return isinstance(item, list) and len(item) == len(kinds) and all(map(is_a, item, kinds))


def is_a(item, kind):
    if isinstance(kind, int):
        return isinstance(item, bytes) and len(item) == kind
    return type(item) is kind


def is_role(name):
    return 2 <= len(name) <= 128 and all(c in "abcdefghijklmnopqrstuvwxyz0123456789_" for c in name)


class Policy:
    def __init__(self, data):
        item, end = read(data)
        check(end == len(data) and isinstance(item, list) and 6 <= len(item) <= 10, "an array")
        check(is_of(item[:6], int, 16, str, str, list, list), "what each policy has")
        item += [None] * (10 - len(item))
        self.version, self.conversation, self.type, self.add_permission, members, roles = item[:6]
        check(1 <= self.version <= 4, "a version that is known")
        check(self.add_permission in ("admins", "everyone"), "who may add")
        check(all(is_of(one, 16, str) and is_role(one[1]) for one in members), "the members")
        check(all(is_of(one, str, int) and is_role(one[0]) and one[1] <= ALL for one in roles), "the roles")
        self.members, self.roles = dict(members), dict(roles)
        check(len(self.members) == len(members), "no user twice")
        check(sorted(set(self.members.values()) - set(PREDEFINED)) == [one[0] for one in roles], "the roles that they have")

        self.link, self.open, self.admitted = None, False, {}
        if item[6] is not None:
            check(isinstance(item[6], list) and len(item[6]) == 3, "the entrance")
            self.link, self.open, admitted = item[6]
            check(self.link is None or is_a(self.link, 32), "the link")
            check(is_a(self.open, bool) and is_a(admitted, list), "the entrance")
            check(all(is_of(one, 16, 64) for one in admitted), "who is admitted")
            self.admitted = dict(admitted)
            check([list(one) for one in sorted(self.admitted.items())] == admitted, "in the order of their ids")
            check(self.link is not None or self.open or admitted, "an entrance that says something")
        self.carriers = item[7] or []
        check(item[7] is None or is_a(item[7], list) and 1 <= len(item[7]) <= 8, "the carriers")
        check(all(is_a(one, str) and len(one.encode()) <= 512 for one in self.carriers), "a carrier")
        self.pair = item[8]
        if self.pair is None:
            check(self.type in ("group", "channel"), "the type")
        else:
            check(is_of(self.pair, 16, int) and self.pair[1] < 1 << 32, "what it continues")
            check((self.type, self.add_permission) == ("one_to_one", "admins"), "of two")
            check(list(self.members.values()) == ["admin", "admin"], "two who are equal")
        check(item[9] in (None, "on"), "receipts")
        self.receipts = item[9] == "on"

        if self.pair is not None or self.receipts:
            version = 4
        else:
            version = 3 if self.carriers else 1 if item[6] is None else 2
        check(self.version == version, "the lowest version that can say it")
        while item[-1] is None:
            item.pop()
        check(write(item) == data, "the one form of it")

    def actions_of(self, user):
        """What a member may do, as bits."""
        name = self.members[user]
        return PREDEFINED.get(name, self.roles.get(name))

    def admins(self):
        return [user for user, role in self.members.items() if role == "admin"]


class Change:
    """What a commit does. Of devices, whose they are: those that it adds and removes with who has proposed it, and those that stay."""

    def __init__(self, by, from_outside, added, removed, kept):
        self.by, self.from_outside = by, from_outside
        self.added, self.removed, self.kept = added, removed, kept

    def present(self):
        return {*self.kept, *(user for user, _ in self.added), *([self.by] if self.from_outside else [])}


def check_commit(before, after, change, has_link):
    """Whether a commit may turn a policy into another. `has_link` says whether a proof is of a link, conversation and user."""
    check((before.conversation, before.type) == (after.conversation, after.type), "the same conversation")
    check((before.carriers, before.pair) == (after.carriers, after.pair), "the same carriers and pair")
    same = vars(before) == vars(after) and list(before.members) == list(after.members)
    present, by = change.present(), change.by

    def acting(user):
        check(user in before.members, "a member")
        return before.actions_of(user)

    def allowed(user, action):
        check(acting(user) & 1 << ACTIONS.index(action), action)

    check(present <= set(after.members), "a device of nobody who is a member")
    own = acting(by)
    if change.from_outside:
        check(same and all(user == by for user, _ in change.added + change.removed), "their own device")
        return
    if before.pair is not None:
        check(same, "nothing of it changes")
        removed = {user for user, _ in change.removed}
        for user, proposer in change.added:
            begins = proposer == by and user not in change.kept and user not in removed
            check(proposer == user or begins, "one's own device")
        check(all(user == proposer for user, proposer in change.removed), "one's own device")
        return

    came = set()
    for user, proposer in change.added:
        role = acting(proposer)
        if user in before.members:
            continue
        check(user in after.members, "who is added is a member")
        proof = after.admitted.get(user)
        by_link = bool(before.link and proof and has_link(before.link, proof, before.conversation, user))
        came |= {user} if by_link else set()
        if after.members[user] == "member" and (before.add_permission == "everyone" or before.open or by_link):
            continue
        allowed(proposer, "add_member")
        check(after.actions_of(user) & ~role == 0, "no more than one's own role")
    added = {user for user, _ in change.added}
    check(all(user in before.members or user in added for user in after.members), "a member who was added")

    for user, proposer in change.removed:
        acting(proposer)
        if user != proposer:
            allowed(proposer, "remove_member")
            check(user not in after.members or user in present, "whose devices are removed is removed")
    check(by in after.members, "who commits stays")
    stay = [user for user in before.members if user in after.members]
    remaining = [user for user in before.admins() if user in after.members]
    for user, _ in change.removed:
        takes_admin = before.members.get(user) == "admin" and user not in after.members
        check(remaining or not takes_admin, "an admin stays")

    new = [user for user in after.members if user not in before.members]
    check(list(after.members) == stay + sorted(new), "the order of the members")
    heir = stay[0] if stay and not remaining else None
    for user in stay:
        was, now = before.members[user], after.members[user]
        if (was, before.actions_of(user)) == (now, after.actions_of(user)) or user == heir and now == "admin":
            continue
        allowed(by, "modify_other_member")
        check(user != by and after.actions_of(user) & ~own == 0, "no more than one's own role")
    check(after.admins(), "an admin stays")

    if before.add_permission != after.add_permission:
        allowed(by, "modify_add_permission")
    if before.receipts != after.receipts:
        check(before.carriers, "receipts of what no hub carries")
        allowed(by, "modify_receipt_mode")
    if (before.link, before.open) != (after.link, after.open):
        allowed(by, "modify_access")
    check(before.admitted == after.admitted or set(after.admitted) <= came, "proofs of who comes by them")
