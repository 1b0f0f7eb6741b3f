#!/usr/bin/env python3
"""Reads the test vectors in docs/spec/vectors, from the bytes down to the content.

It is written from the pages beside it and shares no code with the implementation: the standard library, `protobuf` and
`cryptography`. The schemas are compiled by whoever runs it, into the directory that the argument names:

    python3 decode.py DIRECTORY-OF-SCHEMAS

policy.py, beside it, has the policy of a group. DIRECTORY-OF-SCHEMAS has `schemas.binpb`, a FileDescriptorSet of proto/. It prints what it read, and fails at the first difference.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import uuid

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

sys.dont_write_bytecode = True  # these are documents

import policy as policies  # noqa: E402

VECTORS = pathlib.Path(__file__).parent / "vectors"
TAG = 16
SIZE_CLASSES = {1 << n for n in range(10, 23)}
MOST_BYTES = {"UmbraEnvelopeV1": (1 << 22) + 112, "IntroBundleV1": 1 << 16}
MOST_REPEATED = {("GapRequest", "message_ids"): 64, ("BundleContent", "devices"): 8, ("BundleDevice", "one_time_keys"): 16}

# The page of each type says which message its frames are.
FRAMES = {
    1: "InboxFrameV1",
    2: "PrivateFrameV1",
    3: "DirectFrameV1",
    4: "GroupFrameV1",
    5: "SelfFrameV1",
    6: "SubconversationFrameV1",
}

# And which of them are handshakes.
HANDSHAKES = {1: set(), 2: {4}, 3: {2}, 4: {2, 3}, 5: {2}, 6: {2}}


class Invalid(Exception):
    """Not what it should be."""


class Unsupported(Exception):
    """Has something that only a later version knows."""


class NotForUs(Exception):
    """Of a conversation that is not known."""


def check(condition, what):
    if not condition:
        raise Invalid(what)


# --- The canonical form: envelope.md, "The canonical form" ------------------------------------------------------------


class Schemas:
    def __init__(self, path):
        pool = descriptor_pool.DescriptorPool()
        files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
        for file in files.file:
            pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
        self.pool = pool

    def decode(self, name, data):
        """The message, if the bytes are its canonical form."""
        check(len(data) <= MOST_BYTES.get(name, (1 << 22) - 4), f"the length of {name}")
        descriptor = self.pool.FindMessageTypeByName(f"tertulia.conversation.v1.{name}")
        if has_unknown(data, descriptor):
            raise Unsupported(name)
        message = message_factory.GetMessageClass(descriptor)()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise Invalid(name) from error
        check(message.SerializeToString(deterministic=True) == data, f"{name} is not canonical")
        return message


def varint(data, at):
    value = shift = 0
    while True:
        check(at < len(data) and shift < 70, "a varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            check(value < 1 << 64, "a number of 64 bits")
            return value, at


def has_unknown(data, descriptor):
    """Whether there is a field that the schema does not have; invalid if the fields cannot be told apart, or one is there too often."""
    at, unknown, seen = 0, False, {}
    while at < len(data):
        key, at = varint(data, at)
        number, wire_type = key >> 3, key & 7
        check(key < 1 << 32 and number != 0, "the number of a field")
        begin = at
        if wire_type == 0:
            _, at = varint(data, at)
        elif wire_type == 1:
            at += 8
        elif wire_type == 2:
            length, begin = varint(data, at)
            at = begin + length
        elif wire_type == 5:
            at += 4
        else:
            raise Invalid("a group, or no wire type")
        check(at <= len(data), "a field is cut")
        field = descriptor.fields_by_number.get(number)
        if field is None:
            unknown = True
            continue
        seen[number] = seen.get(number, 0) + 1
        check(seen[number] <= MOST_REPEATED.get((descriptor.name, field.name), 1), "a field is there too often")
        is_number = field.type in (field.TYPE_UINT32, field.TYPE_UINT64)
        check(wire_type == (0 if is_number else 2), "the wire type of a field")
        if field.message_type is not None:
            unknown |= has_unknown(data[begin:at], field.message_type)
    return unknown


# --- Envelope: envelope.md --------------------------------------------------------------------------------------------


class Envelope:
    def __init__(self, schemas, data):
        message = schemas.decode("UmbraEnvelopeV1", data)
        text = message.conversation_hint
        check(len(text) == 32 and all(c in "0123456789abcdef" for c in text), "the hint")
        self.hint = bytes.fromhex(text)
        self.salt = message.salt
        check(self.salt == 0 or self.salt >= 1 << 28, "the salt")
        self.scheme = message.encrypted_bytes.WhichOneof("scheme")
        check(self.scheme is not None, "encrypted bytes")
        inner = getattr(message.encrypted_bytes, self.scheme)
        self.header = inner.encapsulated_key if self.scheme == "hpke" else inner.key_salt
        check(len(self.header) == 32, "the header")
        self.ciphertext = inner.ciphertext
        check(len(self.ciphertext) - TAG in SIZE_CLASSES, "the size class")


def unpad(padded):
    length = int.from_bytes(padded[:4], "big")
    check(4 + length <= len(padded), "the length in the padding")
    smallest = max(1024, 1 << (3 + length).bit_length())
    check(len(padded) == smallest and not any(padded[4 + length :]), "the padding")
    return padded[4 : 4 + length]


def frame_of(schemas, padded, expected_type):
    frame = schemas.decode("EncryptedFrame", unpad(padded))
    if frame.conversation_type > 0xFFFF:
        raise Unsupported("a type above 65535")
    check(frame.conversation_type == expected_type, "a frame of another type")
    return frame.frame


def content_of(schemas, conversation_type, frame):
    """The number of the frame's kind, and what it carries."""
    if conversation_type not in FRAMES:
        return 1, frame  # an application's: the frame is the content
    message = schemas.decode(FRAMES[conversation_type], frame)
    kind = message.WhichOneof("frame")
    check(kind is not None, "the kind of the frame")
    number = message.DESCRIPTOR.fields_by_name[kind].number
    inner = getattr(message, kind)
    name = inner.DESCRIPTOR.name
    if name == "Placeholder":
        return number, b""
    if name == "GapRequest":
        check(len(inner.message_ids) > 0, "ids")
        check(all(len(one) == 32 for one in inner.message_ids), "an id")
        return number, b"".join(inner.message_ids)
    if name == "SignedInvitation":
        return number, inner.invitation
    check(name != "GapAnswer" or len(inner.message_id) == 32, "an id")
    check(inner.message, "the message")
    return number, inner.message


# --- Ids, topics, epochs, hints: hints.md -----------------------------------------------------------------------------


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def expand(key, info, length):
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def uuid8(digest):
    out = bytearray(digest[:16])
    out[6] = (out[6] & 0x0F) | 0x80
    out[8] = (out[8] & 0x3F) | 0x80
    return bytes(out)


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


def conversation_id(conversation_type, secret):
    return uuid8(sha256(b"tertulia/conversation-id/v1", u16(conversation_type), secret))


def talk_topic(conversation):
    bucket = int.from_bytes(sha256(b"tertulia/topic/v1", b"talk.", conversation)[:2], "big") % 256
    return f"/tertulia/1/talk-{bucket}/proto"


def inbox_topic(address):
    bucket = int.from_bytes(sha256(b"tertulia/topic/v1", b"inbox", address)[:2], "big") % 256
    return f"/tertulia/1/inbox-{bucket}/proto"


def salted_hint(salt, conversation):
    return sha256(b"tertulia/hint/salted/v1", u32(salt), conversation)[:16]


class Epoch:
    def __init__(self, shared, conversation_type, conversation, epoch):
        self.conversation_type = conversation_type
        self.conversation = conversation
        key = mac(b"tertulia/epoch/v1", shared)  # HKDF-Extract
        where = u16(conversation_type) + conversation + u64(epoch)
        self.hint_secret = expand(key, b"tertulia/epoch/v1 hint" + where, 32)
        self.outer_secret = expand(key, b"tertulia/epoch/v1 outer" + where, 32)

    def hint(self, is_handshake, sender, generation):
        chain = mac(self.hint_secret, b"tertulia/hint/v1", bytes([2 if is_handshake else 1]), u32(sender))
        return mac(chain, u32(generation))[:16]

    def open(self, envelope):
        check(envelope.scheme == "epoch_sealed", "the scheme")
        both = expand(self.outer_secret, b"tertulia/outer/v1" + envelope.header, 44)
        bound = b"".join(
            [
                b"tertulia/outer/v1",
                u16(self.conversation_type),
                self.conversation,
                envelope.hint,
                u32(envelope.salt),
            ]
        )
        try:
            return ChaCha20Poly1305(both[:32]).decrypt(both[32:], envelope.ciphertext, bound)
        except InvalidTag as error:
            raise Invalid("the epoch's key does not open it") from error


# --- HPKE: RFC 9180, base mode, single shot ---------------------------------------------------------------------------


def hpke_open(secret, encapsulated, info, ciphertext, bound, aead=(3, 32, ChaCha20Poly1305)):
    number, key_length, cipher = aead
    kem, suite = b"KEM" + u16(0x0020), b"HPKE" + u16(0x0020) + u16(0x0001) + u16(number)

    def extract(suite_id, salt, label, ikm):
        return mac(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)

    def labelled(suite_id, key, label, context, length):
        return expand(key, u16(length) + b"HPKE-v1" + suite_id + label + context, length)

    private = X25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    eae = extract(kem, b"", b"eae_prk", shared)
    secret = labelled(kem, eae, b"shared_secret", encapsulated + public, 32)
    context = (
        b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    )
    key_schedule = extract(suite, secret, b"secret", b"")
    key = labelled(suite, key_schedule, b"key", context, key_length)
    nonce = labelled(suite, key_schedule, b"base_nonce", context, 12)
    return decrypt(cipher(key), nonce, ciphertext, bound)


def decrypt(cipher, nonce, ciphertext, bound):
    try:
        return cipher.decrypt(nonce, ciphertext, bound)
    except InvalidTag as error:
        raise Invalid("the key does not open it") from error


# --- Bundles and first contact: bundle.md, inbox-v1.md ----------------------------------------------------------------


def vector(data):
    """A vector of variable length: RFC 9420, section 2.1.2."""
    if len(data) < 1 << 6:
        return bytes([len(data)]) + data
    if len(data) < 1 << 14:
        return u16(1 << 14 | len(data)) + data
    return u32(2 << 30 | len(data)) + data


def signed_bytes(label, content):
    """`SignContent` of RFC 9420, section 5.1.2, with labels that begin with `Tertulia`."""
    return vector(b"MLS 1.0 Tertulia " + label) + vector(content)


def verify(key, signature, label, content):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_bytes(label, content))
    except InvalidSignature as error:
        raise Invalid(f"the signature of {label.decode()}") from error


class Bundle:
    def __init__(self, schemas, data):
        bundle = schemas.decode("IntroBundleV1", data)
        self.content = schemas.decode("BundleContent", bundle.content)
        identity = self.content.identity_key
        verify(identity, bundle.signature, b"intro bundle 1", bundle.content)
        self.client_address = "mimi://key.invalid/u/" + sha256(b"tertulia/identity/v1", identity).hex()
        self.inbox_address = sha256(b"tertulia/inbox/v1", self.client_address.encode())
        check(self.content.inbox_address == self.inbox_address, "the inbox address")
        check(1 <= len(self.content.devices) <= 8, "the devices")
        for device in self.content.devices:
            lengths = (device.signature_key, device.inbox_key, device.ratchet_key, device.fallback_key.key)
            check(all(len(key) == 32 for key in lengths), "the keys of a device")
            for key in [*device.one_time_keys, device.fallback_key]:
                verify(device.signature_key, key.signature, b"intro bundle key 1", device.ratchet_key + key.key)

    def address(self, device):
        """What a device is called."""
        user = uuid.UUID(bytes=uuid8(sha256(b"tertulia/user/v1", self.content.identity_key)))
        name = sha256(b"tertulia/device/v1", self.content.devices[device].signature_key)[:8]
        return f"{user}:{name.hex()}@key.invalid"

    @classmethod
    def from_text(cls, schemas, text):
        prefix = "tertulia_intro_1_"
        check(text.startswith(prefix), "the prefix")
        encoded = text[len(prefix) :]
        return cls(schemas, base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))


def read_invitation(schemas, envelope, receiver, secret, now):
    inbox_id = uuid8(sha256(b"tertulia/inbox-id/v1", u16(1), receiver.inbox_address))
    if salted_hint(envelope.salt, inbox_id) != envelope.hint:
        raise NotForUs
    check(envelope.scheme == "hpke", "the scheme")
    info = b"tertulia/inbox/v1 hpke" + receiver.inbox_address
    bound = envelope.hint + u32(envelope.salt)
    padded = hpke_open(secret, envelope.header, info, envelope.ciphertext, bound)
    frame = frame_of(schemas, padded, 1)
    content_of(schemas, 1, frame)
    signed = schemas.decode("InboxFrameV1", frame).invitation
    invitation = schemas.decode("Invitation", signed.invitation)
    check(len(invitation.id) == 16 and invitation.WhichOneof("kind") is not None, "the invitation")
    check(len(getattr(invitation, invitation.WhichOneof("kind")).creation_secret) == 32, "the creation secret")
    check(now < invitation.expires <= now + 30 * 24 * 60 * 60, "the expiry")
    sender = Bundle(schemas, invitation.sender_bundle)
    device = sender.content.devices[invitation.sender_device]
    inbox_key = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    statement = receiver.inbox_address + inbox_key + envelope.header + signed.invitation
    verify(device.signature_key, signed.signature, b"inbox invitation 1", statement)
    return sender, invitation


# --- MLS: RFC 9420, ciphersuite 1, for a member that joins by a Welcome -----------------------------------------------

AES128 = (1, 16, AESGCM)


class Reader:
    """The presentation language of RFC 9420, section 2.1."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        taken = self.data[self.at : self.at + length]
        check(len(taken) == length, "it is cut")
        self.at += length
        return taken

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def vector(self):
        first = self.number(1)
        size = 1 << (first >> 6)
        check(size < 8, "the length of a vector")
        return self.take((first & 0x3F) << 8 * (size - 1) | self.number(size - 1))

    def each(self, read):
        """A vector of what `read` reads."""
        inner, all_of_it = Reader(self.vector()), []
        while not inner.is_done():
            all_of_it.append(read(inner))
        return all_of_it

    def optional(self, read):
        return read(self) if self.number(1) else None

    def since(self, begin):
        return self.data[begin : self.at]

    def is_done(self):
        return self.at == len(self.data)


def expand_with_label(secret, label, context, length):
    return expand(secret, u16(length) + vector(b"MLS 1.0 " + label) + vector(context), length)


def derive_secret(secret, label):
    return expand_with_label(secret, label, b"", 32)


def read_leaf(reader):
    """A LeafNode: section 7.2. Its signature key and who it is of."""
    reader.vector()  # encryption_key
    signature_key = reader.vector()
    check(reader.number(2) == 1, "a basic credential")
    identity = reader.vector()
    for _ in range(5):
        reader.vector()  # capabilities
    source = reader.number(1)
    if source == 1:
        reader.take(16)  # lifetime
    elif source == 3:
        reader.vector()  # parent_hash
    reader.vector()  # extensions
    reader.vector()  # signature
    return signature_key, identity


def read_node(reader):
    """A node of the ratchet tree: section 12.4.3.3."""
    if reader.number(1) == 1:
        return read_leaf(reader)
    for _ in range(3):
        reader.vector()  # encryption_key, parent_hash, unmerged_leaves
    return None


def read_extensions(reader):
    extensions = reader.each(lambda one: (one.number(2), one.vector()))
    return dict(extensions)


class MlsEpoch:
    """An epoch, as a member sees it that joins by this Welcome: section 12.4.3.1."""

    def __init__(self, welcome, key_package, init_secret):
        message = Reader(welcome)
        check(message.take(4) == u16(1) + u16(3), "a Welcome")
        check(message.number(2) == 1, "ciphersuite 1")
        # A KeyPackageRef is of the key package without the head of an MLSMessage.
        check(key_package[:4] == u16(1) + u16(5), "a key package")
        label = b"MLS 1.0 KeyPackage Reference"
        reference = sha256(vector(label), vector(key_package[4:]))
        secrets = message.each(lambda one: (one.vector(), one.vector(), one.vector()))
        encrypted_info = message.vector()
        check(message.is_done(), "the end of the Welcome")
        mine = [one for one in secrets if one[0] == reference]
        check(len(mine) == 1, "the Welcome is not for this key package")
        _, encapsulated, ciphertext = mine[0]
        info = vector(b"MLS 1.0 Welcome") + vector(encrypted_info)
        group_secrets = Reader(hpke_open(init_secret, encapsulated, info, ciphertext, b"", AES128))
        joiner_secret = group_secrets.vector()

        member = mac(joiner_secret, bytes(32))  # KDF.Extract with no pre-shared key
        welcome_secret = derive_secret(member, b"welcome")
        key, nonce = (expand_with_label(welcome_secret, what, b"", n) for what, n in [(b"key", 16), (b"nonce", 12)])
        info = Reader(decrypt(AESGCM(key), nonce, encrypted_info, b""))
        self.version_and_suite = info.take(4)
        check(self.version_and_suite == u16(1) + u16(1), "version and ciphersuite")
        self.group_id, self.epoch = info.vector(), info.number(8)
        info.vector(), info.vector()  # tree_hash, confirmed_transcript_hash
        self.extensions = read_extensions(info)
        self.context = info.since(0)
        extensions = read_extensions(info)
        confirmation_tag, signer = info.vector(), info.number(4)
        to_be_signed = info.since(0)
        check(2 in extensions, "the ratchet tree goes along")
        nodes = Reader(extensions[2]).each(lambda one: one.optional(read_node))
        self.leaves = nodes[::2]
        self.signer = self.leaves[signer][1]
        verify_mls(self.leaves[signer][0], info.vector(), b"GroupInfoTBS", to_be_signed)

        epoch_secret = expand_with_label(member, b"epoch", self.context, 32)
        self.sender_data_secret = derive_secret(epoch_secret, b"sender data")
        self.encryption_secret = derive_secret(epoch_secret, b"encryption")
        exporter = derive_secret(epoch_secret, b"exporter")
        # MLS-Exporter("exporter", "", 32): section 8.5.
        self.shared = expand_with_label(derive_secret(exporter, b"exporter"), b"exported", sha256(), 32)
        transcript = Reader(self.context)
        transcript.take(4), transcript.vector(), transcript.take(8), transcript.vector()
        confirmed = transcript.vector()
        tag = mac(derive_secret(epoch_secret, b"confirm"), confirmed)
        check(tag == confirmation_tag, "the confirmation tag")

    def ratchet(self, leaf, content_type, generation):
        """Key and nonce of a generation: section 9."""
        width = 1
        while width < len(self.leaves):
            width *= 2
        secret, first = self.encryption_secret, 0
        while width > 1:
            width //= 2
            is_right = leaf >= first + width
            first += width if is_right else 0
            secret = expand_with_label(secret, b"tree", b"right" if is_right else b"left", 32)
        secret = expand_with_label(secret, b"application" if content_type == 1 else b"handshake", b"", 32)
        for step in range(generation):
            secret = expand_with_label(secret, b"secret", u32(step), 32)
        of = u32(generation)
        return expand_with_label(secret, b"key", of, 16), expand_with_label(secret, b"nonce", of, 12)

    def open(self, data):
        """The sender's leaf, the content's type and the content of a PrivateMessage: section 6.3."""
        message = Reader(data)
        check(message.take(4) == u16(1) + u16(2), "a PrivateMessage")
        group_id, epoch = message.vector(), message.number(8)
        check((group_id, epoch) == (self.group_id, self.epoch), "group and epoch")
        content_type, authenticated = message.number(1), message.vector()
        head = vector(group_id) + u64(epoch) + bytes([content_type])
        sender_data, ciphertext = message.vector(), message.vector()
        check(message.is_done(), "the end of the message")

        sample = ciphertext[:32]
        key = expand_with_label(self.sender_data_secret, b"key", sample, 16)
        nonce = expand_with_label(self.sender_data_secret, b"nonce", sample, 12)
        sender = Reader(decrypt(AESGCM(key), nonce, sender_data, head))
        leaf, generation, guard = sender.number(4), sender.number(4), sender.take(4)
        key, nonce = self.ratchet(leaf, content_type, generation)
        nonce = bytes(a ^ b for a, b in zip(nonce, guard + bytes(8)))
        plain = Reader(decrypt(AESGCM(key), nonce, ciphertext, head + vector(authenticated)))
        if content_type == 1:
            content = plain.vector()
        else:
            check(content_type == 3, "a commit")
            plain.vector()  # proposals
            content = plain.optional(lambda path: (read_leaf(path), path.vector()))
        framed = plain.since(0)
        signature = plain.vector()
        if content_type == 3:
            check(len(plain.vector()) == 32, "the confirmation tag of the commit")
        check(not any(plain.data[plain.at :]), "the padding")
        framed = vector(group_id) + u64(epoch) + b"\x01" + u32(leaf) + vector(authenticated) + bytes([content_type]) + framed
        key, self.sender = self.leaves[leaf]
        verify_mls(key, signature, b"FramedContentTBS", u16(1) + u16(2) + framed + self.context)
        return leaf, content_type, content


def verify_mls(key, signature, label, content):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, vector(b"MLS 1.0 " + label) + vector(content))
    except InvalidSignature as error:
        raise Invalid(f"the signature of {label.decode()}") from error


# --- The Double Ratchet: Olm, version 1 -------------------------------------------------------------------------------


def x25519(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def olm_fields(data):
    """The fields of a message, after its version."""
    check(data[:1] == b"\x03", "version 3 of the format")
    at, fields = 1, {}
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            check(at + value <= len(data), "a field is cut")
            value, at = data[at : at + value], at + value
        fields[key] = value
    return fields


def olm_is_first(data):
    """Whether it begins a session: its fields are others, of which the first is a key and the last a message."""
    try:
        return 0x1A in olm_fields(data)
    except Invalid:
        return False


class OlmChain:
    """A chain of one side."""

    def __init__(self, ratchet_key, chain_key):
        self.ratchet_key, self.chain_key = ratchet_key, chain_key

    def open(self, data):
        """What a message says, of any index that has not been read."""
        fields = olm_fields(data[:-8])
        check(fields[0x0A] == self.ratchet_key, "the ratchet key")
        key = self.chain_key
        for _ in range(fields.get(0x10, 0)):
            key = mac(key, b"\x02")
        keys = expand(mac(bytes(1), mac(key, b"\x01")), b"OLM_KEYS", 80)
        check(hmac.compare_digest(mac(keys[32:64], data[:-8])[:8], data[-8:]), "the authentication code")
        cipher = Cipher(algorithms.AES256(keys[:32]), modes.CBC(keys[64:])).decryptor()
        padded = cipher.update(fields[0x22]) + cipher.finalize()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(padded) + unpadder.finalize()


class OlmInvited:
    """The side whose keys the session begins with."""

    def __init__(self, identity_secret, one_time_secret):
        self.identity, self.one_time = identity_secret, one_time_secret

    def open(self, data):
        outer = olm_fields(data)
        one_time_key, base_key, identity_key, inner = (outer[key] for key in (0x0A, 0x12, 0x1A, 0x22))
        own = X25519PrivateKey.from_private_bytes(self.one_time).public_key().public_bytes_raw()
        check(one_time_key == own, "the one-time key")
        shared = x25519(self.one_time, identity_key) + x25519(self.identity, base_key) + x25519(self.one_time, base_key)
        both = expand(mac(bytes(1), shared), b"OLM_ROOT", 64)
        return OlmChain(olm_fields(inner[:-8])[0x0A], both[32:]).open(inner)


# --- What travels of the Double Ratchet: private-v1.md ----------------------------------------------------------------


class PairwiseMessage:
    """A message, taken apart: kind, and of one that begins a session who says to have begun it."""

    def __init__(self, data):
        check(len(data) <= 1 << 16, "the length of the message")
        reader = Reader(data)
        check(reader.number(1) == 1, "the version of the message")
        self.begins = {0: True, 1: False}.get(reader.number(1))
        check(self.begins is not None, "the kind of the message")
        self.signature_key, self.signature = (reader.take(32), reader.take(64)) if self.begins else (None, None)
        self.olm = data[reader.at :]
        self.identity_key = olm_fields(self.olm)[0x1A] if self.begins else None

    def verify(self, address):
        """That the device with this address has signed the key that the session begins with."""
        statement = b"\x01" + self.identity_key + address.encode()
        verify(self.signature_key, self.signature, b"pairwise key 1", statement)


def in_place(plaintext, conversation, purpose, sender, recipient):
    """The content of a plaintext, if it belongs here."""
    reader = Reader(plaintext)
    check(reader.number(1) == 1, "the version of the plaintext")
    check(reader.number(1) == purpose, "the purpose")
    check(reader.take(16) == conversation, "the conversation")
    check(reader.take(reader.number(2)) == sender.encode(), "the sender")
    check(reader.take(reader.number(2)) == recipient.encode(), "the recipient")
    content = reader.take(reader.number(4))
    check(not any(plaintext[reader.at :]), "the padding")
    step = 1 << max(0, reader.at.bit_length() - 4)
    check(len(plaintext) == max(256, -(-reader.at // step) * step), "the length that senders pad to")
    return content


class Pairwise:
    """The conversation of the two people in inner.json, as who is written to reads it."""

    PURPOSES = {1: 1, 3: 3, 4: 4}  # of each kind of frame

    def __init__(self, schemas):
        inner = load("inner.json")
        people = [inner["people"][who] for who in ("sender", "reader")]
        self.bundles = [Bundle.from_text(schemas, who["bundle"]) for who in people]
        self.addresses = [bundle.address(0) for bundle in self.bundles]
        check(self.addresses == [who["address"] for who in people], "the addresses")
        self.schemas = schemas
        self.creation_secret = bytes.fromhex(inner["double_ratchet"]["creation_secret"])
        self.conversation = conversation_id(2, self.creation_secret)
        self.turns = inner["double_ratchet"]["turns"]

    def read(self, data, purpose, sender):
        """The content of a message, which has come in a place where only this purpose and this sender can be."""
        turn, known = next(
            (turn, one) for turn in self.turns for one in turn["messages"] if one["message"] == data.hex()
        )
        keys = {name: bytes.fromhex(key) for name, key in turn["reader"].items() if name != "state"}
        message = PairwiseMessage(data)
        check(message.begins == ("one_time_secret" in keys), "the kind of the message")
        if message.begins:
            message.verify(self.addresses[sender])
            device = self.bundles[sender].content.devices[0]
            check(message.identity_key == device.ratchet_key, "the identity key of the bundle")
            check(message.signature_key == device.signature_key, "the signature key of the bundle")
            plaintext = OlmInvited(keys["identity_secret"], keys["one_time_secret"]).open(message.olm)
        else:
            plaintext = olm_answer(keys["root_key"], keys["ratchet_secret"], message.olm)
        place = (self.addresses[sender], self.addresses[1 - sender])
        content = in_place(plaintext, self.conversation, purpose, *place)
        check(content.hex() == known["content"], "the content")
        return content

    def say(self, frame, data, sender):
        """What a frame of this kind says."""
        if frame == 2:
            return "nothing"
        content = self.read(data, self.PURPOSES[frame], sender)
        if frame != 4:
            return say(content)
        check(len(content) >= 32, "a renewal")
        if content[32:]:
            check(Bundle(self.schemas, content[32:]).address(0) == self.addresses[sender], "whose bundle it is")
        return f"32 bytes for the next epoch, and {len(content) - 32} bytes of a bundle"

    def shared(self, epoch):
        """What an epoch begins with."""
        if epoch == 0:
            return self.creation_secret
        renewals = [one for turn in self.turns for one in turn["messages"] if one["purpose"] == 4]
        return bytes.fromhex(renewals[epoch - 1]["content"])[:32]


def olm_answer(root_key, ratchet_secret, data):
    """The first message of the invited's own chain."""
    theirs = olm_fields(data[:-8])[0x0A]
    both = expand(mac(root_key, x25519(ratchet_secret, theirs)), b"OLM_RATCHET", 64)
    return OlmChain(theirs, both[32:]).open(data)


# --- The content: draft-ietf-mimi-content, in CBOR (RFC 8949) ---------------------------------------------------------


def cbor(data, at=0):
    """One item, and where it ends; only what a content has."""
    check(at < len(data), "it is cut")
    major, length = data[at] >> 5, data[at] & 0x1F
    at += 1
    if major == 7:
        check(length in (20, 21, 22), "a simple value")
        return {20: False, 21: True, 22: None}[length], at
    if length >= 24:
        size = 1 << (length - 24)
        check(size <= 8 and at + size <= len(data), "a head")
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major == 0:
        return length, at
    if major == 1:
        return -1 - length, at
    if major in (2, 3):
        check(at + length <= len(data), "it is cut")
        text = data[at : at + length]
        return (text if major == 2 else text.decode()), at + length
    if major == 6:
        return cbor(data, at)
    items = []
    for _ in range(length * (2 if major == 5 else 1)):
        item, at = cbor(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def say(content):
    """What a MIMI content says: who the sender is and the text of its one part."""
    if not content:
        return "nothing"
    message, end = cbor(content)
    check(end == len(content) and isinstance(message, list) and len(message) == 7, "a content")
    salt, _replaces, _topic, _expires, _in_reply_to, extensions, part = message
    check(len(salt) == 16 and isinstance(extensions, dict), "salt and extensions")
    disposition, _language, cardinality, content_type, body = part
    if content_type == "application/mimi-message-status":
        reports, end = cbor(body)
        check(end == len(body) and all(len(one[0]) == 32 for one in reports), "a report")
        return f"what became of {len(reports)}"
    check(cardinality == 1 and content_type.startswith("text/"), "one part with a text")
    return f"{extensions.get(1, '?')} says {body.decode()!r}" + (" as a reaction" if disposition == 2 else "")


# --- The vectors ------------------------------------------------------------------------------------------------------


def load(name):
    return json.loads((VECTORS / name).read_text())


def ids(schemas):
    for one in load("ids.json")["conversations"]:
        conversation = conversation_id(one["conversation_type"], bytes.fromhex(one["creation_secret"]))
        check(conversation.hex() == one["conversation_id"], "the id")
        check(talk_topic(conversation) == one["content_topic"], "the topic")
        check(salted_hint(one["salt"], conversation).hex() == one["salted_hint"], "the salted hint")
        yield one["conversation_id"]


def check_policy(epoch, expected):
    """That the group has the policy that it is to have, and nobody in it who is no member."""
    found = epoch.extensions.get(policies.GROUP_DATA)
    check((found and found.hex()) == expected, "the policy")
    check(epoch.extensions.get(policies.ENCRYPTED_HANDSHAKES) == b"", "that handshakes are encrypted")
    if found is None:
        return
    policy = policies.Policy(found)
    check(policy.conversation == epoch.group_id, "whose policy it is")
    users = {uuid.UUID(leaf[1].split(b":")[0].decode()).bytes for leaf in epoch.leaves if leaf}
    check(users <= set(policy.members), "a member without a place in the policy")
    if policy.pair is not None:
        check(users == set(policy.members), "the two")


def opener(schemas, one, conversation, shared):
    """What reads the contents of a conversation's frames."""
    kind = one["conversation_type"]
    inner = load("inner.json")
    if kind not in FRAMES:
        return lambda _frame, content: say(content)
    if kind == 2:
        pairwise = Pairwise(schemas)
        check(pairwise.conversation == conversation, "the conversation of the two")
        check(pairwise.shared(one["epoch"]) == shared, "what the two share in the epoch")
        return lambda frame, content: pairwise.say(frame, content, one["sender"])
    group = next(one for one in inner["mls"] if one["conversation_type"] == kind)
    reader = group["reader"]
    keys = (bytes.fromhex(one) for one in (group["welcome"], reader["key_package"], reader["init_secret"]))
    epoch = MlsEpoch(*keys)
    check(epoch.group_id == conversation, "the group's id")
    check(epoch.epoch == group["epoch"], "the epoch")
    check(epoch.shared == shared, "what the members of the epoch share")
    check_policy(epoch, group["policy"])
    known = {one["message"]: one["content"] for one in group["messages"]}

    def open_mls(frame, content):
        if kind == 4 and frame == 3:
            check(content.hex() == group["welcome"], "the Welcome")
            return f"a Welcome to a group of {len([leaf for leaf in epoch.leaves if leaf])}"
        if kind == 4 and frame == 4:
            return "a request"
        leaf, content_type, inside = epoch.open(content)
        check(leaf == 0, "the sender's leaf")
        if content_type == 3:
            return "a commit"
        check(inside.hex() == known[content.hex()], "the content")
        return say(inside)

    return open_mls


def envelopes(schemas):
    for one in load("envelopes.json")["conversations"]:
        kind = one["conversation_type"]
        conversation = conversation_id(kind, bytes.fromhex(one["creation_secret"]))
        check(conversation.hex() == one["conversation_id"], "the id")
        shared = bytes.fromhex(one["shared_secret"])
        epoch = Epoch(shared, kind, conversation, one["epoch"])
        read = opener(schemas, one, conversation, shared)
        for vector in one["envelopes"]:
            envelope = Envelope(schemas, bytes.fromhex(vector["envelope"]))
            if vector.get("salted"):
                expected = salted_hint(envelope.salt, conversation)
            else:
                check(envelope.salt == 0, "the salt")
                expected = epoch.hint(vector["is_handshake"], one["sender"], vector["generation"])
            check(envelope.hint == expected, "the hint")
            frame = frame_of(schemas, epoch.open(envelope), kind)
            check(frame.hex() == vector["frame"], "the frame")
            number, content = content_of(schemas, kind, frame)
            check((number, content.hex()) == (vector["frame_number"], vector["content"]), "the content")
            yield f"{one['title']} {number}: {read(number, content)}"


def inbox(schemas):
    vectors = load("inbox.json")
    receiver = Bundle.from_text(schemas, vectors["receiver_bundle"])
    check(receiver.client_address == vectors["receiver_client_address"], "the client's address")
    check(receiver.inbox_address.hex() == vectors["receiver_inbox_address"], "the inbox address")
    check(inbox_topic(receiver.inbox_address) == vectors["content_topic"], "the topic")
    sender = Bundle.from_text(schemas, vectors["sender_bundle"])
    secret = bytes.fromhex(vectors["receiver_inbox_secret"])
    for vector in vectors["invitations"]:
        envelope = Envelope(schemas, bytes.fromhex(vector["envelope"]))
        found, invitation = read_invitation(schemas, envelope, receiver, secret, vectors["now"])
        check(found.client_address == sender.client_address, "the sender")
        check(invitation.expires == vector["expires"], "the expiry")
        kind = invitation.WhichOneof("kind")
        inner = getattr(invitation, kind)
        number, content = (2, inner.message) if kind == "private" else (inner.conversation_type, inner.welcome)
        check(number == vector["conversation_type"], "the type")
        check(inner.creation_secret.hex() == vector["creation_secret"], "the creation secret")
        check(content.hex() == vector["content"], "the content")
        inside = load("inner.json")
        device = receiver.content.devices[0]
        if kind == "private":
            pairwise = Pairwise(schemas)
            check(pairwise.creation_secret == inner.creation_secret, "the creation secret")
            message = olm_fields(PairwiseMessage(content).olm)
            check(message[0x0A] == device.one_time_keys[0].key, "a one-time key of the bundle")
            check(pairwise.read(content, 1, 0) == b"", "a first message that says nothing")
            says = "a session begins"
        else:
            group = next(one for one in inside["mls"] if one["conversation_type"] == number)
            check(device.key_package.hex() == group["reader"]["key_package"], "the key package of the bundle")
            joined = MlsEpoch(content, device.key_package, bytes.fromhex(group["reader"]["init_secret"]))
            check(joined.group_id == conversation_id(number, inner.creation_secret), "the group's id")
            check(joined.signer == found.address(invitation.sender_device).encode(), "who has signed the group")
            check_policy(joined, group["policy"])
            says = f"epoch {joined.epoch} of a group"
        yield f"{kind} invitation by {found.client_address[-8:]}: {says}"


def outcome_of(decode, data):
    try:
        decode(data)
        return "decoded"
    except Unsupported:
        return "unsupported"
    except NotForUs:
        return "not for us"
    except Invalid:
        return "invalid"


def outcomes(schemas):
    """What becomes of bytes, as an envelope and in a conversation."""
    vectors = load("outcomes.json")
    received = vectors["received"]
    for decode, cases in [
        (lambda data: Envelope(schemas, data), vectors["envelopes"]),
        (receiver(schemas, received), received["envelopes"]),
    ]:
        for one in cases:
            outcome = outcome_of(decode, bytes.fromhex(one["bytes"]))
            check(outcome == one["outcome"], f"{one['what']}: {outcome}")
            yield f"{one['what']}: {outcome}"


def receiver(schemas, one):
    """What reads the frames that one sender sends in an epoch."""
    kind = one["conversation_type"]
    conversation = conversation_id(kind, bytes.fromhex(one["creation_secret"]))
    epoch = Epoch(bytes.fromhex(one["shared_secret"]), kind, conversation, one["epoch"])
    windows = [(False, 32), (True, 4)]
    hints = {epoch.hint(is_one, one["sender"], n): is_one for is_one, most in windows for n in range(most)}

    def receive(data):
        envelope = Envelope(schemas, data)
        is_salted = envelope.salt != 0 and salted_hint(envelope.salt, conversation) == envelope.hint
        if not is_salted and (envelope.salt != 0 or envelope.hint not in hints):
            raise NotForUs
        number, _ = content_of(schemas, kind, frame_of(schemas, epoch.open(envelope), kind))
        check(is_salted or hints[envelope.hint] == (number in HANDSHAKES[kind]), "a frame of the kind of its hint")

    return receive


def has_link(link, proof, conversation, user):
    """Whether somebody proves to have the link of this key: policy.md, "The join link"."""
    try:
        verify(link, proof, b"join link 1", conversation + user + b"key.invalid")
    except Invalid:
        return False
    return True


def policy(schemas):
    vectors = load("policies.json")
    for one in vectors["policies"]:
        read = policies.Policy(bytes.fromhex(one["bytes"]))
        says = {
            "conversation": read.conversation.hex(),
            "conversation_type": read.type,
            "add_permission": read.add_permission,
            "members": [[user.hex(), role] for user, role in read.members.items()],
            "roles": [list(role) for role in read.roles.items()],
            "link": read.link and read.link.hex(),
            "open": read.open,
            "admitted": [user.hex() for user in read.admitted],
            "carriers": read.carriers,
            "continues": read.pair and read.pair[0].hex(),
            "times": read.pair and read.pair[1],
            "receipt_mode": "on" if read.receipts else "off",
        }
        check(all(one[name] == value for name, value in says.items()), one["what"])
        yield f"version {read.version}, {one['what']}: {len(read.members)} members"
    for one in vectors["refused"]:
        try:
            policies.Policy(bytes.fromhex(one["bytes"]))
        except policies.Refused as refused:
            yield f"{one['what']}: refused ({refused})"
        else:
            raise Invalid(f"{one['what']}: it is read")
    for one in vectors["commits"]:
        before, after = (policies.Policy(bytes.fromhex(one[name])) for name in ("before", "after"))
        added, removed = ([tuple(map(bytes.fromhex, pair)) for pair in one[name]] for name in ("added", "removed"))
        kept = {bytes.fromhex(user) for user in one["kept"]}
        change = policies.Change(bytes.fromhex(one["by"]), one["from_outside"], added, removed, kept)
        try:
            policies.check_commit(before, after, change, has_link)
            outcome = "allowed"
        except policies.Refused as refused:
            outcome = f"refused ({refused})"
        check(outcome.startswith("allowed") == one["allowed"], f"{one['what']}: {outcome}")
        yield f"{one['what']}: {outcome}"


def work(schemas):
    vectors = load("work.json")
    topic, envelope = vectors["content_topic"].encode(), bytes.fromhex(vectors["envelope"])
    for one in vectors["stamps"]:
        head = sha256(b"tertulia/work/v1", topic, b"\x00", u64(one["hour"]), sha256(envelope))
        bits = int.from_bytes(sha256(head, u64(one["number"])), "big")
        check(256 - bits.bit_length() >= one["difficulty"], "the work")
        yield f"{one['difficulty']} bits"


def main():
    schemas = Schemas(pathlib.Path(sys.argv[1]) / "schemas.binpb")
    count = 0
    for part in [ids, envelopes, inbox, outcomes, policy, work]:
        for line in part(schemas):
            print(f"{part.__name__:<10} {line}")
            count += 1
    print(f"{count} vectors read")


if __name__ == "__main__":
    main()
