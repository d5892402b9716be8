"""An OAuth 2.0 authorization server (RFC 6749, 7636, 8628) on loopback, with switches for what goes wrong."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from sync.oauth.providers import GENERIC_PROVIDER, Provider

CLIENT_ID = "imapped-client"
CLIENT_SECRET = "client secret"


class AuthorizationServer:
    """Grants whatever it is asked for, and remembers every form that its token endpoint got."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.error = ""
        self.broken = False
        self.denies = False
        self.lifetime = 3600
        self.rotates = False
        self.pending = 0
        self.answering = threading.Event()
        self.answering.set()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._codes: dict[str, str] = {}
        self._refresh_tokens: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._authorize(self)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = {name: values[0] for name, values in parse_qs(self.rfile.read(length).decode()).items()}
                status, told = server._device() if self.path == "/device" else server._token(form)
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def provider(self) -> Provider:
        """Return the registration with this server."""
        return Provider(
            name=GENERIC_PROVIDER,
            title="the provider",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            authorization_url=f"{self.url}/authorize",
            token_url=f"{self.url}/token",
            device_url=f"{self.url}/device",
            scopes=("mail", "offline_access"),
        )

    def new_refresh_token(self) -> str:
        """Return a refresh token that is valid."""
        token = f"refresh-{next(self._numbers)}"
        self._refresh_tokens.add(token)
        return token

    def revoke_all(self) -> None:
        """Take every grant back."""
        self._refresh_tokens.clear()

    def close(self) -> None:
        """End the server."""
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _authorize(self, request: BaseHTTPRequestHandler) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        answer = {"state": asked["state"]}
        if self.denies:
            answer["error"] = "access_denied"
        else:
            answer["code"] = f"code-{next(self._numbers)}"
            self._codes[answer["code"]] = asked["code_challenge"]
        request.send_response(302)
        request.send_header("Location", f"{asked['redirect_uri']}?{urlencode(answer)}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _device(self) -> tuple[int, dict[str, object]]:
        told = {"device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": f"{self.url}/enter"}
        return 200, {**told, "expires_in": 600, "interval": 1}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.answering.wait(10)
        with self._lock:
            self.forms.append(form)
            if self.broken:
                return 503, {}
            refusal = self.error or self._refusal(form)
            if refusal:
                return 400, {"error": refusal}
            told: dict[str, object] = {"access_token": f"access-{next(self._numbers)}", "token_type": "Bearer"}
            told["expires_in"] = self.lifetime
            if form["grant_type"] != "refresh_token" or self.rotates:
                told["refresh_token"] = self.new_refresh_token()
            return 200, told

    def _refusal(self, form: dict[str, str]) -> str:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return "invalid_client"
        if form["grant_type"] == "authorization_code":
            challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
            expected = base64.urlsafe_b64encode(challenge).decode().rstrip("=")
            return "" if self._codes.pop(form["code"], None) == expected else "invalid_grant"
        if form["grant_type"] == "refresh_token":
            return "" if form["refresh_token"] in self._refresh_tokens else "invalid_grant"
        self.pending -= 1
        return "authorization_pending" if self.pending >= 0 else ""
