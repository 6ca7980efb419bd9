"""The error tree.

StepdownError
├── SettingsError        a setting is missing, unknown or out of range
├── BadRequest           a client's request cannot be served as it is (4xx)
│   ├── UnknownModel
│   ├── BodyTooLarge
│   ├── Unauthorized
│   └── Forbidden
├── UpstreamError        a model did not answer (5xx, or its own 4xx)
│   ├── UpstreamTimeout
│   └── UpstreamUnreachable
├── ArtifactError        an artifact is missing, corrupt or of an unknown version
├── LedgerError          the ledger refused or could not keep a record
├── CheckError           a check is unknown, misconfigured or cannot judge its reference
├── SandboxError         code of a model cannot be run in isolation here
├── NotEnoughEvidence    the labels cannot support what was asked
├── DatasetError         a dataset cannot be built, read or imported
├── TrainingError        a student cannot be trained or exported
├── ServingError         a small model's server does not have, or take, what it should
├── OutOfBudget          the time or the money of a piece of work was up; it can be taken up again
├── SuiteError           an evaluation suite, or a line of one, cannot be used
└── RecordingError       a line of a recording or answer file cannot be used

Every message says what happened, shows the offending value and says what to do next.
"""

from __future__ import annotations


class StepdownError(Exception):
    """Whatever Stepdown raises on purpose."""


class SettingsError(StepdownError):
    """A setting is missing, unknown or out of range."""


class BadRequest(StepdownError):
    """A client's request cannot be served as it is.

    Attributes:
        param: Path of the offending field (`messages[0].role`), or None.
        code: Machine-readable reason, in OpenAI's vocabulary where it has a word.
        status: HTTP status.
    """

    status = 400

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class UnknownModel(BadRequest):
    """The request names a model that this proxy does not serve."""

    status = 404


class BodyTooLarge(BadRequest):
    """The request body is larger than the proxy accepts."""

    status = 413


class Unauthorized(BadRequest):
    """The request carries no key, or one that is not known."""

    status = 401


class Forbidden(BadRequest):
    """The request's key belongs to another task than the one it asks for."""

    status = 403


class UpstreamError(StepdownError):
    """A model did not answer.

    Attributes:
        status: HTTP status to answer the client with.
        body: The upstream's own error body, relayed as it is, or None.
    """

    def __init__(self, message: str, *, status: int = 502, body: bytes | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class UpstreamTimeout(UpstreamError):
    """A model did not answer in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=504)


UNREACHABLE = "cannot be reached"


class UpstreamUnreachable(UpstreamError):
    """No connection to a model could be made; where its server was away the message says `UNREACHABLE`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=503)


class ArtifactError(StepdownError):
    """An artifact is missing, corrupt or of an unknown version."""


class LedgerError(StepdownError):
    """The ledger refused or could not keep a record."""


class CheckError(StepdownError):
    """A check is unknown, misconfigured or cannot judge its reference."""


class SandboxError(StepdownError):
    """Code of a model cannot be run in isolation here."""


class NotEnoughEvidence(StepdownError):
    """The labels cannot support what was asked."""


class DatasetError(StepdownError):
    """A dataset cannot be built, read or imported."""


class TrainingError(StepdownError):
    """A student cannot be trained or exported."""


class ServingError(StepdownError):
    """A small model's server does not have, or does not take, what it should."""


class OutOfBudget(StepdownError):
    """The time or the money of a piece of work was up; it can be taken up where it was."""


class SuiteError(StepdownError):
    """An evaluation suite, or a line of one, cannot be used."""


class RecordingError(StepdownError):
    """A line of a recording or an answer file cannot be used."""
