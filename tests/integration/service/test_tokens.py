"""Bearer tokens of an identity provider, with its keys served over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm

from auditspan.errors import SettingsError
from auditspan_service.accounts.tokens import TokenVerifier
from auditspan_service.config import load_settings
from support.service import Caller, RunningService, problem, running_service, settings_at

ISSUER, AUDIENCE = "https://login.example.org", "auditspan"


@dataclass(kw_only=True)
class Provider:
    """An identity provider whose keys are replaced by `rotate`."""

    url: str = ""
    fetches: int = 0
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on; the others are gone."""
        self.keys = {key_id: ec.generate_private_key(ec.SECP256R1())}

    def jwks(self) -> bytes:
        """The public keys."""
        self.fetches += 1
        keys = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "alg": "ES256"}
            for key_id, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def token(self, **claims: Any) -> str:
        """A token with these claims besides, or instead of, those that are required."""
        ((key_id, key),) = self.keys.items()
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "7", "exp": now + 60}
        given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(given, key, algorithm="ES256", headers={"kid": key_id})


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider with one key."""
    made = Provider()
    made.rotate("first")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(made.jwks())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def accepting(provider: Provider, tmp_path: Path, url: str, **given: Any) -> Any:
    """A service that accepts tokens of this provider."""
    tokens = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks_url": provider.url}
    return running_service(settings_at(tmp_path / "data", url, **tokens, **given))


def status(service: RunningService, token: str, path: str = "/v1/users") -> int:
    """The answer to a request with this token."""
    return Caller(app=service.app, key=token, user_id=0)("GET", path).status_code


def test_token_permits_its_scopes(provider: Provider, tmp_path: Path, sqlite_url: str) -> None:
    """Its subject is the actor, marked as one of a token; `admin` needs a mapping of its own."""
    with accepting(provider, tmp_path, sqlite_url) as service:
        token = provider.token(scope="users:read users:write other", preferred_username="kim")
        assert [200, 403] == [status(service, token, p) for p in ("/v1/users", "/v1/audit-events")]
        kim = Caller(app=service.app, key=token, user_id=0)
        kim.create(username="lee")
        assert {"type": "user", "id": "jwt:7", "label": "kim"} == service.bodies()[-1]["actor"]
        assert 403 == status(service, provider.token(scope="admin"))
        assert 403 == status(service, provider.token())
        assert 200 == service.caller()("GET", "/v1/users").status_code


def test_false_token_is_refused(provider: Provider, tmp_path: Path, sqlite_url: str) -> None:
    """Whatever of issuer, audience, times, key or algorithm is wrong."""
    now, scope = int(time.time()), "users:read"
    good = provider.token(scope=scope)
    head, body, signature = good.split(".")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "7", "exp": now + 60, "scope": scope}
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    headers = {"kid": "first"}
    false = {
        "issuer": provider.token(scope=scope, iss="https://elsewhere.example.org"),
        "audience": provider.token(scope=scope, aud="another"),
        "expired": provider.token(scope=scope, exp=now - 31),
        "not yet valid": provider.token(scope=scope, nbf=now + 3600),
        "no end": provider.token(scope=scope, exp=None),
        "no subject": provider.token(scope=scope, sub=None),
        "no audience": provider.token(scope=scope, aud=None),
        "no signature": jwt.encode(claims, "", algorithm="none", headers=headers),
        "shared secret": jwt.encode(claims, "x" * 32, algorithm="HS256", headers=headers),
        "another key": jwt.encode(claims, rsa_key, algorithm="RS256", headers=headers),
        "unknown key": jwt.encode(claims, rsa_key, algorithm="RS256", headers={"kid": "x"}),
        "no key id": jwt.encode(claims, rsa_key, algorithm="RS256"),
        "changed": f"{head}.{body[:-2]}AA.{signature}",
        "cut off": good[:-4],
        "words": "a.b.c",
    }
    with accepting(provider, tmp_path, sqlite_url, failure_limit="off") as service:
        assert 200 == status(service, good)
        assert dict.fromkeys(false, 401) == {k: status(service, one) for k, one in false.items()}
        assert provider.fetches <= 2


def test_new_key_of_the_provider_is_fetched(provider: Provider) -> None:
    """Once in a while, so that unknown keys cause no flood; the old key is forgotten."""
    tokens = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks_url": provider.url}
    now = 0.0
    verifier = TokenVerifier(load_settings(**tokens), clock=lambda: now)
    old = provider.token(scope="users:read")
    assert verifier.find(old)
    provider.rotate("second")
    assert verifier.find(provider.token(scope="users:read"))
    assert verifier.find(old) is None
    provider.rotate("third")
    assert verifier.find(provider.token()) is None
    now = 11.0
    assert verifier.find(provider.token())
    assert 3 == provider.fetches


def test_unreachable_provider_refuses_tokens_but_not_keys(
    provider: Provider, tmp_path: Path, sqlite_url: str
) -> None:
    """With 503, since a token may well be valid."""
    token = provider.token(scope="users:read")
    provider.url = "http://127.0.0.1:9/jwks.json"
    with accepting(provider, tmp_path, sqlite_url) as service:
        caller = Caller(app=service.app, key=token, user_id=0)
        assert 503 == problem(caller("GET", "/v1/users"))["status"]
        assert 200 == service.caller()("GET", "/v1/users").status_code


def test_scopes_and_tenant_are_mapped(provider: Provider, tmp_path: Path, sqlite_url: str) -> None:
    """By names of the provider; a token without its tenant is refused, and none manages users."""
    given = {
        "jwt_scopes": "trail.read=audit:read trail.admin=admin",
        "jwt_scopes_claim": "permissions",
        "jwt_tenant_claim": "org",
    }
    with accepting(provider, tmp_path, sqlite_url, **given) as service:
        both = ["trail.read", "trail.admin", "audit:write"]
        token = provider.token(permissions=both, org="north")
        paths = ("/v1/audit-events", "/v1/audit-events?tenant=south", "/v1/users")
        assert [200, 403, 403] == [status(service, token, path) for path in paths]
        assert 401 == status(service, provider.token(permissions=both))
    with accepting(provider, tmp_path, sqlite_url, jwt_scopes="trail.admin=admin") as service:
        assert 200 == status(service, provider.token(scope="trail.admin"))


def test_tokens_are_refused_by_default(provider: Provider, tmp_path: Path, sqlite_url: str) -> None:
    """Nothing is fetched; and incomplete settings are refused at the start."""
    with running_service(settings_at(tmp_path / "data", sqlite_url)) as service:
        assert (401, 0) == (status(service, provider.token(scope="users:read")), provider.fetches)
    with pytest.raises(SettingsError, match="AUDITSPAN_JWT_ISSUER and AUDITSPAN_JWT_AUDIENCE"):
        load_settings(jwt_jwks_url=provider.url)
    with pytest.raises(SettingsError, match="AUDITSPAN_JWT_ALGORITHMS"):
        load_settings(jwt_algorithms="HS256")
