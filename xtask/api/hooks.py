"""What Schemathesis has to know of a hub beside its OpenAPI document: how to be somebody on it, what there is on it, and that a
body of MLS messages is bytes.

Half of the requests name things that exist, so that they reach the rules behind the parsing; the others name whatever comes up.
"""

import base64
import json
import os
import random
import urllib.request
import uuid
import zlib

import schemathesis

HUB = os.environ["TERTULIA_HUB"]
PASSWORD = "correct horse battery"


def call(method, path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(HUB + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def person(handle):
    """A user with a device, and the token of its session."""
    session = call("POST", "/v1/accounts", {"handle": handle, "password": PASSWORD})
    device = {
        "device": "%016x" % random.getrandbits(64),
        "label": "a device",
        "signature_key": base64.b64encode(os.urandom(32)).decode(),
        "key_packages": [],
        "last_resort": None,
    }
    call("POST", "/v1/devices", device, session["token"])
    return session


def setting():
    """Two who are connected, one who asks, one whom nobody knows, a group of the first, and a pairwise one of the first two."""
    me, friend, asking, stranger = (person(name) for name in ("tested", "friend", "asking", "stranger"))
    call("POST", "/v1/connections", {"handle": "friend"}, me["token"])
    call("PUT", f"/v1/connections/{me['user']}", {"status": "accepted"}, friend["token"])
    call("POST", "/v1/connections", {"handle": "tested"}, asking["token"])
    group = str(uuid.uuid4())
    call("POST", "/v1/conversations", {"conversation": group}, me["token"])
    attic = str(uuid.uuid4())
    call("POST", "/v1/conversations", {"conversation": attic, "protocol": "pairwise"}, me["token"])
    call("POST", f"/v1/conversations/{attic}/members", {"users": [friend["user"]]}, me["token"])
    connections = call("GET", "/v1/connections", token=me["token"])["connections"]
    return {
        "token": me["token"],
        "user": [session["user"] for session in (me, friend, asking, stranger)],
        "conversation": [group, attic] + [connection["conversation"] for connection in connections],
        "handle": ["tested", "friend", "asking", "stranger"],
    }


SETTING = setting()
# This request ends the session that it comes with, and no other request would get any further.
LOG_OUT = ("DELETE", "/v1/sessions/current")


@schemathesis.auth()
class Session:
    def get(self, case, context):
        return SETTING["token"]

    def set(self, case, data, context):
        if (case.method.upper(), case.path) != LOG_OUT:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"


def existing(values):
    """Puts a name of something that exists in the place of every other made-up one: which is decided by that one, so that the
    same seed makes the same requests."""
    for name, known in SETTING.items():
        if isinstance(values, dict) and name in values and isinstance(known, list):
            lot = zlib.crc32(repr(values[name]).encode())
            if lot % 2:
                values[name] = known[lot // 2 % len(known)]
    return values


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return existing(path_parameters)


@schemathesis.hook
def map_query(context, query):
    return existing(query)


@schemathesis.hook
def map_body(context, body):
    return existing(body)


@schemathesis.serializer("message/mls")
def mls(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer("message/mls")
def read_mls(context, response):
    return response.content.decode("latin-1")
