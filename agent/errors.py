"""Everything that Rapport raises on purpose, named by who must act.

RapportError
├─ UsageError            the caller asked wrongly (command line: exit 2)
│  ├─ UnknownUser        the person is not in the history store
│  ├─ UnknownItem        the item is not in the catalogue
│  ├─ BadFilter          a filter that cannot be read or names no field of the catalogue
│  ├─ NoKey              a service wants to know who asks: the API key is missing, wrong or revoked
│  ├─ NotAllowed         the key is good, but not for this
│  ├─ TooMuch            more than a service takes in: a body too large
│  └─ OtherRequest       an idempotency key that was used for something else before
├─ Overloaded            too many requests at once, or from one caller (carries .wait_s): come back later
├─ SetupError            something must be installed, imported or configured first; the message says what
├─ ImportRefused         a file that cannot be read as the format it was given as
├─ LLMError              the model side failed
│  ├─ Unavailable        worth a retry, then the fallback
│  │  └─ TimedOut
│  └─ Refused            not worth a retry: wrong key, unknown model, prompt too long, schema not expressible
├─ CallFailed            a model call of a batch failed (carries .reason): no LLMError, so no template hides it
│  ├─ CallUnavailable    it was not the person's fault: wait, then try again
│  └─ CallRefused        asking the same again will not help
├─ BadCompletion         the model answered, but not validly (carries .text)
│  └─ Truncated          cut off: raise the token limit, do not ask again
├─ BudgetSpent           the next call could cost more than is allowed
├─ Deferred              the answer comes with a batch that is still to be sent or collected
├─ PromptError           a template and its inputs disagree
└─ StoreError            a store failed, is damaged, or is not the one we built
   ├─ StoreBusy          another process owns it
   └─ StaleLease         the job is somebody else's by now: what was made for it is not kept
"""


class RapportError(Exception):
    """Base of every error that Rapport raises on purpose; its text can be shown to the user."""


class UsageError(RapportError):
    pass


class UnknownUser(UsageError):
    pass


class UnknownItem(UsageError):
    pass


class BadFilter(UsageError):
    pass


class NoKey(UsageError):
    pass


class NotAllowed(UsageError):
    pass


class TooMuch(UsageError):
    pass


class OtherRequest(UsageError):
    pass


class Overloaded(RapportError):
    """Asked too often; `wait_s`: seconds after which it is worth asking again."""

    def __init__(self, message: str, wait_s: float = 1.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class SetupError(RapportError):
    pass


class ImportRefused(RapportError):
    pass


class LLMError(RapportError):
    pass


class Unavailable(LLMError):
    pass


class TimedOut(Unavailable):
    pass


class Refused(LLMError):
    pass


class CallFailed(RapportError):
    """A model call failed while nobody waits for it; `reason` is the name of the LLMError that it raised."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class CallUnavailable(CallFailed):
    pass


class CallRefused(CallFailed):
    pass


class BudgetSpent(RapportError):
    pass


class Deferred(RapportError):
    pass


class BadCompletion(RapportError):
    """The model answered, but not validly; `text` is what it said."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class Truncated(BadCompletion):
    pass


class PromptError(RapportError):
    pass


class StoreError(RapportError):
    pass


class StoreBusy(StoreError):
    pass


class StaleLease(StoreError):
    pass
