"""As much of the package `redis` as the documentation uses, for machines that do not have it: a client of one server."""

import socket
from urllib.parse import urlparse


class ResponseError(Exception):
    pass


class Script:
    def __init__(self, client, text):
        self._client, self._text = client, text

    def __call__(self, keys=(), args=()):
        return self._client.execute_command("EVAL", self._text, len(keys), *keys, *args)


class Redis:
    def __init__(self, host, port):
        self._socket = socket.create_connection((host, port))
        self._replies = self._socket.makefile("rb")

    @classmethod
    def from_url(cls, url):
        parts = urlparse(url)
        return cls(parts.hostname, parts.port or 6379)

    def register_script(self, text):
        return Script(self, text)

    def set(self, key, value, px=None, xx=False):
        words = ["SET", key, value]
        if px is not None:
            words += ["PX", px]
        if xx:
            words.append("XX")
        return self.execute_command(*words)

    def execute_command(self, *words):
        packed = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self._socket.sendall(
            b"*%d\r\n" % len(packed)
            + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in packed)
        )
        return self._reply()

    def _reply(self):
        line = self._replies.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise ResponseError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._replies.read(int(rest) + 2)[:-2]
        return [self._reply() for _ in range(int(rest))]
