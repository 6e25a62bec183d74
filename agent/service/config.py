"""How a service behaves: where it listens, what it takes in, how long anybody waits. Frozen; knows no library."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Config:
    host: str = "127.0.0.1"
    """The address that is listened on. Anything but loopback needs an API key."""
    port: int = 8000
    names: tuple[str, ...] = ()
    """Host names beside localhost by which it may be reached; a request that names another is refused."""
    user_header: str = ""
    """A header beside X-Rapport-User in which programs with a key of scope proxy name the person, over /v1."""
    rate: int = 600
    """Requests a minute that each key (without keys: each address) may make."""
    threads: int = 8
    """Requests that are computed at a time."""
    waiting: int = 64
    """Requests that wait for one of these; more are told to come back."""
    patience_s: float = 60.0
    """The longest that anybody waits for an answer. Models get three quarters of it, then templates answer."""
    body: int = MIB
    """Bytes of a request at most, but for bulk events."""
    bulk: int = 1024 * MIB
    """Bytes of a request with bulk events at most; they are never held together."""
    grace_s: float = 20.0
    """How long requests in flight may go on after the service was told to stop."""
    look_s: float = 60.0
    """Seconds between looking after the index, and between counting anew what was changed."""

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
