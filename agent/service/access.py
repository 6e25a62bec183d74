"""Who asks, and what they may: keys become principals, and principals are held to their scopes. Knows no route."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import unquote

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers

from agent.errors import NoKey, NotAllowed, Overloaded
from agent.history.keys import PREFIX, Keys, Scope
from agent.history.text import clean_id
from agent.history.values import Unusable
from agent.service.config import Config

USER_HEADER = "X-Rapport-User"
"""In whose name a proxy speaks; percent-encoded where it is not ASCII."""
SELF = "me"
"""Who talks at home, where nobody is named: as with `rapport chat`."""
WRONG_KEYS = 30
"""Wrong keys a minute from one address after which it is not listened to."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks: made here, and believed everywhere else."""

    caller: str
    """The id of the key; without keys, the address."""
    scopes: frozenset[Scope]
    user: str = ""
    """The one person that it speaks for; "" for everybody."""
    at_home: bool = False
    """Nobody made a key, and nobody else can reach us."""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def need(self, scope: Scope) -> None:
        """Raises NotAllowed without this scope."""
        if not self.may(scope):
            raise NotAllowed(f"this key has no scope {scope!r}")

    def need_person(self, user: str, scope: Scope) -> None:
        """Raises NotAllowed unless it speaks for this person, or for everybody with this scope."""
        if self.user:
            if self.user != user:
                raise NotAllowed("this key speaks for another person")
        else:
            self.need(scope)


class Doorman:
    """Lets in whom the keys let in. Any thread may call."""

    def __init__(self, keys: Keys, config: Config) -> None:
        self._keys = keys
        self._loopback = config.loopback
        self._storage = MemoryStorage()
        self._window = MovingWindowRateLimiter(self._storage)
        self._rate = RateLimitItemPerMinute(config.rate)
        self._wrong = RateLimitItemPerMinute(WRONG_KEYS)

    def admit(self, headers: Headers, address: str) -> Principal:
        """Who this is. Raises NoKey, NotAllowed, Overloaded, StoreError."""
        return self._known(headers, address)

    @property
    def open(self) -> bool:
        """Whether nobody needs a key: nobody made one, and nobody else can reach us, so whoever can is at home."""
        return self._loopback and not self._keys.any()

    def admit_key(self, presented: str, address: str) -> Principal:
        """Who shows this key. Raises NoKey, Overloaded, StoreError."""
        if not self._window.test(self._wrong, "wrong", address):
            raise Overloaded("too many wrong keys from this address", 60)
        key = self._keys.find(presented.strip())
        if key is None:
            self._window.hit(self._wrong, "wrong", address)
            raise NoKey("this API key is wrong or revoked")
        return self._counted(Principal(key.id, frozenset(key.scopes), key.user))

    def admit_again(self, key_id: str, address: str) -> Principal:
        """Who showed the key of that id before; "" for somebody at home. Raises NoKey, Overloaded, StoreError."""
        if not key_id:
            if not self.open:
                raise NoKey("a key is needed by now")
            return self._counted(Principal(address, frozenset({"admin"}), at_home=True))
        key = self._keys.still(key_id)
        if key is None:
            raise NoKey("this API key was revoked")
        return self._counted(Principal(key.id, frozenset(key.scopes), key.user))

    def _known(self, headers: Headers, address: str) -> Principal:
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        ours = presented.strip().startswith(f"{PREFIX}_")
        if not ours and self.open:
            # Programs that must send some key may send any that is none of ours.
            return self.admit_again("", address)
        if not presented.strip():
            raise NoKey("send an API key: Authorization: Bearer rapport_…; `rapport keys add` makes one")
        # Another scheme is no key of ours: it is looked up, and counted, as a wrong one.
        return self.admit_key(presented if scheme.lower() == "bearer" else "", address)

    def _counted(self, principal: Principal) -> Principal:
        self._count(self._rate, principal.caller)
        return principal

    def _count(self, rate: RateLimitItemPerMinute, caller: str) -> None:
        if not self._window.hit(rate, "requests", caller):
            reset = self._window.get_window_stats(rate, "requests", caller).reset_time
            raise Overloaded(f"more than {rate.amount} requests in a minute", max(1.0, reset - time.time()))


def speaks_for(principal: Principal, headers: Headers) -> str:
    """The person in whose name a conversation is held: the key's own, or whom a proxy names. Raises NotAllowed."""
    named = unquote(headers.get(USER_HEADER, ""))
    if not named and not principal.user:
        raise NotAllowed(f"this key is for no one person: take one made with --user, or send {USER_HEADER}")
    return in_the_name_of(principal, named, USER_HEADER)


def talks_for(principal: Principal, headers: Headers, given: str, user_header: str = "") -> str:
    """As `speaks_for`, for programs that were made for another service. `user_header`: another header that is trusted
    from keys of scope proxy; `given`: whom the request's body names, where no header does. Raises NotAllowed."""
    if principal.user:
        # What such programs say of their own users is no claim about ours.
        return principal.user
    for where in filter(None, (USER_HEADER, user_header)):
        if named := unquote(headers.get(where, "")):
            return in_the_name_of(principal, named, where)
    if given:
        return in_the_name_of(principal, given, "user")
    if principal.at_home:
        return SELF
    raise NotAllowed(f"this key is for no one person: take one made with --user, or send {USER_HEADER} or `user`")


def in_the_name_of(principal: Principal, named: str, where: str) -> str:
    """`named`, who may be spoken for. Raises NotAllowed."""
    if principal.user:
        if named and named != principal.user:
            raise NotAllowed("this key speaks for another person")
        return principal.user
    principal.need("proxy")
    try:
        return clean_id(named, "user")
    except Unusable as error:
        raise NotAllowed(f"{where}: {error}") from error
