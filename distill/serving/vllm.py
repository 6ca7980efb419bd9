"""One vLLM server, over the HTTP API that it has beside OpenAI's: adapters, sleep, metrics.

Invariant: whatever goes wrong leaves this module as a ServingError in words; `ServerAway` where nothing can
be said of what the server has now. Knows nothing of what a server should have. Tried with vLLM 0.32.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from typing import Any, NamedTuple

import msgspec

from distill.serving.plan import Card
from stepdown.errors import ServingError

LOOK_S = 5.0
PROBE_S = 60.0
CHANGE_S = 300.0
SHOWN = 300
WITHOUT_RUNTIME_LORA = (
    "does not load adapters while it runs: start vLLM with --enable-lora --max-lora-rank R and "
    'VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or set serving = "checkpoints"'
)

_running = re.compile(rb"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? +([0-9.eE+]+)", re.MULTILINE)


class ServerAway(ServingError):
    """A server cannot be reached, or broke off."""


class _Reply(NamedTuple):
    status: int
    body: bytes

    @property
    def words(self) -> str:
        """What the server says of an error."""
        try:
            document = msgspec.json.decode(self.body)
            error = document.get("error", document)
            said = error.get("message", error) if isinstance(error, dict) else error
        except (msgspec.DecodeError, AttributeError):
            said = self.body.decode("utf-8", "replace")
        return f"{self.status}: {str(said).strip()[:SHOWN] or 'nothing'}"

    @property
    def is_absent(self) -> bool:
        """Whether the server has no such endpoint."""
        return self.status in (404, 405) and b'"error"' not in self.body


class VllmServer:
    """A client of one server.

    Args:
        url: Base URL, up to and with /v1.
        key: Its key, or None.
        look_s: Longest wait for what is known at once.
        change_s: Longest wait for an adapter to be loaded, for sleep and for waking.
    """

    def __init__(
        self, url: str, key: str | None = None, *, look_s: float = LOOK_S, change_s: float = CHANGE_S
    ) -> None:
        self.url = url
        self.key = key
        self._api = url.rstrip("/")
        self._root = self._api.removesuffix("/v1")
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._look_s, self._change_s = look_s, change_s
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def check_health(self) -> None:
        """Return where the server is up.

        Raises:
            ServerAway: It is not, or its engine is dead.
        """
        reply = self._ask("GET", f"{self._root}/health", None, self._look_s)
        if reply.status != 200:
            raise ServerAway(f"server {self.url} is not healthy: its /health answers {reply.words}")

    def cards(self) -> list[Card]:
        """The models that it has.

        Raises:
            ServingError: It does not say.
        """
        reply = self._ask("GET", f"{self._api}/models", None, self._look_s)
        try:
            listed = msgspec.json.decode(reply.body, type=_List).data
        except msgspec.DecodeError as error:
            raise ServingError(
                f"server {self.url} lists no models: its /v1/models answers {reply.words}"
            ) from error
        return [Card(card.id, card.root or "", card.parent) for card in listed]

    def check_loads(self) -> None:
        """Return where the server loads adapters while it runs.

        Raises:
            ServingError: It does not; the message says how it would.
        """
        reply = self._ask("POST", f"{self._api}/unload_lora_adapter", {"lora_name": ""}, self._look_s)
        if reply.is_absent:
            raise ServingError(f"server {self.url} {WITHOUT_RUNTIME_LORA}")

    def load(self, name: str, path: str) -> None:
        """Load an adapter, and make sure that it is the one.

        Raises:
            ServingError: The server refused it, or has something else under its name.
            ServerAway: The server died on it, or said nothing in time.
        """
        asked = {"lora_name": name, "lora_path": path}
        reply = self._ask("POST", f"{self._api}/load_lora_adapter", asked, self._change_s)
        if reply.is_absent:
            raise ServingError(f"server {self.url} {WITHOUT_RUNTIME_LORA}")
        if reply.status != 200:
            hint = f"; does the server see {path!r}? see trainer.mounted" if reply.status == 404 else ""
            raise ServingError(f"server {self.url} refuses adapter {name!r}: {reply.words}{hint}")
        found = next((card.root for card in self.cards() if card.name == name), None)
        if found is None:
            raise ServingError(
                f"server {self.url} says that it loaded adapter {name!r}, and does not list it"
            )
        if found != path:
            self.unload(name)  # no answer is better than another student's
            raise ServingError(
                f"server {self.url} serves an older adapter under {name!r}: from {found!r}, not from {path!r}"
            )

    def unload(self, name: str) -> None:
        """Unload an adapter; one that is not there is no error.

        Raises:
            ServingError: The server refused.
        """
        reply = self._ask("POST", f"{self._api}/unload_lora_adapter", {"lora_name": name}, self._change_s)
        if reply.status not in (200, 404):
            raise ServingError(f"server {self.url} does not unload {name!r}: {reply.words}")

    def probe(self, name: str) -> None:
        """Return where a name answers a chat request of one token.

        Raises:
            ServingError: It does not.
        """
        asked = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        reply = self._ask("POST", f"{self._api}/chat/completions", asked, PROBE_S)
        if reply.status != 200 or b'"choices"' not in reply.body:
            raise ServingError(f"server {self.url} does not answer as {name!r}: {reply.words}")

    def is_asleep(self) -> bool | None:
        """Whether it sleeps; None where it cannot.

        Raises:
            ServerAway: It cannot be reached.
        """
        reply = self._ask("GET", f"{self._root}/is_sleeping", None, self._look_s)
        if reply.status != 200:
            return None
        return bool(_fields(reply).get("is_sleeping"))

    def sleep(self) -> None:
        """Free the GPU, keeping the weights in the machine's memory (vLLM's level 1).

        Raises:
            ServingError: It does not.
        """
        self._change("sleep?level=1", "go to sleep", asleep=True)

    def wake(self) -> None:
        """Take the GPU again.

        Raises:
            ServingError: It does not.
        """
        self._change("wake_up", "wake up", asleep=False)

    def _change(self, endpoint: str, what: str, *, asleep: bool) -> None:
        reply = self._ask("POST", f"{self._root}/{endpoint}", {}, self._change_s)
        if reply.status != 200 or self.is_asleep() is not asleep:
            raise ServingError(f"server {self.url} does not {what}: it answers {reply.words}")

    def busy(self) -> int:
        """Requests that it works on or has waiting.

        Raises:
            ServingError: It does not say.
        """
        reply = self._ask("GET", f"{self._root}/metrics", None, self._look_s)
        found = _running.findall(reply.body)
        if reply.status != 200 or not found:
            raise ServingError(
                f"server {self.url} does not say how busy it is: its /metrics answers {reply.status}"
            )
        return int(sum(float(number) for number in found))

    def max_rank(self) -> int | None:
        """Highest rank of an adapter; None where it does not say (it does with VLLM_SERVER_DEV_MODE=1).

        Raises:
            ServerAway: It cannot be reached.
        """
        reply = self._ask("GET", f"{self._root}/server_info?config_format=json", None, self._look_s)
        lora = _fields(reply).get("vllm_config", {}) if reply.status == 200 else {}
        lora = lora.get("lora_config") if isinstance(lora, dict) else None
        rank = lora.get("max_lora_rank") if isinstance(lora, dict) else None
        return rank if isinstance(rank, int) else None

    def _ask(self, method: str, url: str, document: Any, timeout_s: float) -> _Reply:
        body = None if document is None else msgspec.json.encode(document)
        request = urllib.request.Request(url, data=body, headers=self._headers, method=method)
        try:
            with self._open(request, timeout=timeout_s) as response:
                return _Reply(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _Reply(error.code, error.read())
        except TimeoutError as error:
            raise ServerAway(f"server {self.url} sent nothing for {timeout_s:g} s") from error
        except urllib.error.URLError as error:
            raise ServerAway(f"server {self.url} cannot be reached: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerAway(f"server {self.url} broke off: {error}") from error


class _Card(msgspec.Struct):
    id: str
    root: str | None = None
    parent: str | None = None


class _List(msgspec.Struct):
    data: list[_Card]


def _fields(reply: _Reply) -> dict[str, Any]:
    try:
        return msgspec.json.decode(reply.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
