"""Vectors accepted by the providers' own PyPI SDKs: pip install -r requirements.txt && python pypi.py > pypi.json

One function a provider, returning a Provider: `requests` makes a request at a given time, `verify` asks the SDK.
"""

import asyncio
import base64
import contextlib
import hmac
import json
import re
import sys
import time
import urllib.parse
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Callable

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

NOW = 1780000000
SENT, OLD = NOW - 5, NOW - 3600
HERE = Path(__file__).parent
time.time = lambda: float(NOW)

ACCEPTED = "signature accepted by the SDK verifier (SDK cannot sign)"
MADE = "made by the SDK and accepted by its verifier"
RSA = serialization.load_pem_private_key((HERE / "test-rsa-key.pem").read_bytes(), None)
PUBLIC_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()


@dataclass
class Provider:
    slug: str
    sdk: str
    by: str
    secrets: dict
    requests: dict[str, Callable[[int], dict]]
    verify: Callable[[dict], object]
    timed: bool = False
    note: str = ""
    detail: str = ACCEPTED
    extra: dict = field(default_factory=dict)


def compact(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def mac(secret: str, text: str, name: str = "sha256"):
    return hmac.new(secret.encode(), text.encode(), name)


def rsa_sign(text: str) -> str:
    return base64.b64encode(RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def paypal() -> Provider:
    """The certificate download and the trust store are replaced by the test certificate; the rest is the SDK."""
    import warnings

    warnings.simplefilter("ignore")
    from OpenSSL import crypto
    from paypalrestsdk import WebhookEvent

    cert_pem = (HERE / "test-paypal-cert.pem").read_text()
    cert = crypto.load_certificate(crypto.FILETYPE_PEM, cert_pem.encode())
    store = crypto.X509Store()
    store.add_cert(cert)
    WebhookEvent._get_cert = staticmethod(lambda url: cert)
    WebhookEvent._get_certificate_store = classmethod(lambda cls: store)
    webhook_id = "4JH86294D6297924G"

    def request(t):
        sent = datetime.fromtimestamp(t, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = compact({"id": "WH-0G2756385H040842W-5Y612302CV158622M", "event_type": "PAYMENT.SALE.COMPLETED", "create_time": sent, "summary": "für 5 €"})
        transmission = "dfb3be50-fd74-11e4-8bf3-77339302725b"
        text = f"{transmission}|{sent}|{webhook_id}|{zlib.crc32(body.encode())}"
        return {
            "body": body,
            "headers": {
                "PAYPAL-TRANSMISSION-ID": transmission,
                "PAYPAL-TRANSMISSION-TIME": sent,
                "PAYPAL-AUTH-ALGO": "SHA256withRSA",
                "PAYPAL-CERT-URL": "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
                "PAYPAL-TRANSMISSION-SIG": rsa_sign(text),
            },
        }

    def verify(r):
        h = r["headers"]
        return WebhookEvent.verify(
            h["paypal-transmission-id"], h["paypal-transmission-time"], webhook_id, r["body"],
            h["paypal-cert-url"], h["paypal-transmission-sig"], h["paypal-auth-algo"],
        )

    return Provider(
        "paypal", "paypalrestsdk", "WebhookEvent.verify (certificate download and trust store replaced by a test certificate)",
        {"webhook_id": webhook_id, "cert_pem": cert_pem, "public_key_pem": PUBLIC_PEM}, {"ok": request}, verify,
        timed=True, note="transmission id|time|webhook id|CRC-32 of the body in decimal",
    )


def unit() -> Provider:
    from unit.api.webhook_resource import WebhookResource

    secret = "unit-webhook-token"

    def request(t):
        body = compact({"data": [{"id": "53", "type": "customer.created", "attributes": {"createdAt": "2026-05-28T20:26:35.000Z", "tags": {"name": "José"}}}]})
        return {"body": body, "headers": {"x-unit-signature": base64.b64encode(mac(secret, body, "sha1").digest()).decode()}}

    def verify(r):
        return WebhookResource.verify(None, r["headers"]["x-unit-signature"], secret, json.loads(r["body"]))

    return Provider(
        "unit", "unit-python-sdk", "WebhookResource.verify", {"secret": secret}, {"ok": request}, verify,
        note="base64; the SDK signs the re-serialised body (compact JSON, UTF-8 not escaped), equal to the raw body here",
    )


def mailgun() -> Provider:
    from mailgun.security import SecurityGuard

    secret = "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
    token = "c3e1a7b59d2f4068ac1b7e9d5f30284617c9ab3d5e7f102436"

    def request(t):
        signature = mac(secret, f"{t}{token}").hexdigest()
        body = compact({"signature": {"timestamp": str(t), "token": token, "signature": signature}, "event-data": {"id": "CPgfbmQMTCKtHW6uIWtuVe", "event": "delivered", "timestamp": float(t)}})
        return {"body": body, "headers": {}, "tampered": {"token": {"body": body.replace(token, token[:-1] + "7")}}}

    def verify(r):
        s = json.loads(r["body"])["signature"]
        return SecurityGuard.verify_webhook(secret, s["token"], s["timestamp"], s["signature"])

    return Provider(
        "mailgun", "mailgun", "SecurityGuard.verify_webhook", {"secret": secret}, {"ok": request}, verify, timed=True,
        note="the signature is in the body and covers timestamp and token only; default window of the SDK 900 s",
    )


def scrapfly() -> Provider:
    from scrapfly.api_response import ResponseBodyHandler

    secret = "scrapfly-signing-secret"

    def request(name, upper):
        def make(t):
            body = compact({"result": {"status": "DONE", "status_code": 200}, "context": {"job": {"uuid": "b8a8e4a0-0001"}}})
            digest = mac(secret, body).hexdigest()
            return {"body": body, "headers": {"X-Scrapfly-Webhook-Signature": digest.upper() if upper else digest, "X-Scrapfly-Webhook-Job-Id": "b8a8e4a0-0001", "X-Scrapfly-Webhook-Resource-Type": "scrape"}}

        return make

    def verify(r):
        return ResponseBodyHandler(signing_secrets=(secret,)).verify(r["body"].encode(), r["headers"]["x-scrapfly-webhook-signature"])

    return Provider("scrapfly", "scrapfly-sdk", "ResponseBodyHandler.verify", {"secret": secret}, {"ok": request("ok", True)}, verify, note="upper-case hex")


def boldsign() -> Provider:
    from boldsign.webhook_utility import WebhookUtility

    secret = "boldsign-webhook-secret"
    body = compact({"event": {"id": "6d3b9c1e-0001", "created": 1779999990, "eventType": "Sent", "environment": "Live"}, "document": {"documentId": "d-1"}})

    def ok(t):
        return {"body": body, "headers": {"X-BoldSign-Event": "Sent", "X-BoldSign-Signature": f"t={t}, s0={mac(secret, f'{t}.{body}').hexdigest()}"}}

    def rotated(t):
        old, new = (mac(s, f"{t}.{body}").hexdigest() for s in ("older-secret", secret))
        return {"body": body, "headers": {"X-BoldSign-Event": "Sent", "X-BoldSign-Signature": f"t={t}, s0={old}, s1={new}"}}

    def verify(r):
        WebhookUtility.validate_signature(r["body"], r["headers"]["x-boldsign-signature"], secret)

    return Provider("boldsign", "boldsign", "WebhookUtility.validate_signature", {"secret": secret}, {"ok": ok, "rotated": rotated}, verify, timed=True)


def blockfrost() -> Provider:
    from blockfrost import helpers

    helpers.get_unix_timestamp = lambda: NOW
    secret = "59a1eb46-96f4-4f0b-8a03-b4d26e70593a"
    body = compact({"id": "47668401-c3a4-42d4-bac1-ad46515924a3", "webhook_id": "cf68eb9c-635f-415e-a5a8-6233638f28d7", "created": 1779999990, "type": "block", "payload": {"height": 7126256}})

    def ok(t):
        return {"body": body, "headers": {"Blockfrost-Signature": f"t={t},v1={mac(secret, f'{t}.{body}').hexdigest()}"}}

    def two(t):
        return {"body": body, "headers": {"Blockfrost-Signature": f"t={t},v1={'ab' * 32},v1={mac(secret, f'{t}.{body}').hexdigest()}"}}

    def verify(r):
        helpers.verify_webhook_signature(r["body"].encode(), r["headers"]["blockfrost-signature"], secret)

    return Provider("blockfrost", "blockfrost-python", "verify_webhook_signature", {"secret": secret}, {"ok": ok, "two-signatures": two}, verify, timed=True, note="default window 600 s")


def emailit() -> Provider:
    from emailit._webhook_signature import WebhookSignature

    secret = "whsec_emailit_test"
    body = compact({"object": "event", "id": "evt_123456789", "type": "email.delivered", "data": {"object": {"id": "em_1"}}})

    def ok(t):
        return {"body": body, "headers": {"X-Emailit-Timestamp": str(t), "X-Emailit-Signature": WebhookSignature.compute_signature(body, str(t), secret)}}

    def verify(r):
        WebhookSignature.verify(r["body"], r["headers"]["x-emailit-signature"], r["headers"]["x-emailit-timestamp"], secret)

    return Provider("emailit", "emailit", "WebhookSignature.compute_signature / verify", {"secret": secret}, {"ok": ok}, verify, timed=True, detail=MADE, note="the key is the whole secret text, whsec_ included")


def openpay() -> Provider:
    from getopenpay.utils.webhook_utils import WebhookUtils

    secret = "openpay-webhook-secret"

    def ok(t):
        data = compact({"id": "cus_1", "object": "customer"})
        body = compact({"id": "event_1", "type": "customer.created", "data": data})
        return {"body": body, "headers": {"signature-digest": f"t={t},v1={mac(secret, f'{t}.{data}').hexdigest()}"}, "tampered": {"body": {"body": body.replace("cus_1", "cus_2")}}}

    def verify(r):
        WebhookUtils().validate_payload(json.loads(r["body"])["data"], r["headers"]["signature-digest"], secret)

    return Provider("openpay", "getopenpay", "WebhookUtils.validate_payload", {"secret": secret}, {"ok": ok}, verify, timed=True, note="the signed text is the string in the field data (JSON in a string), not the raw body")


def alipay() -> Provider:
    from com.alipay.ams.api.tools.webhook_tool import check_signature

    key = base64.b64encode(RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).decode()
    path, client_id = "/in/alipay", "SANDBOX_5YBW6W2Z9Z6W02446"

    def request(t, separator):
        sent = datetime.fromtimestamp(t, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = compact({"notifyType": "PAYMENT_RESULT", "result": {"resultCode": "SUCCESS", "resultStatus": "S"}, "paymentRequestId": "2020010123456789", "paymentId": "2020010123456789XXXX"})
        signature = urllib.parse.quote_plus(rsa_sign(f"POST {path}\n{client_id}.{sent}.{body}"))
        return {"body": body, "headers": {"Client-Id": client_id, "Request-Time": sent, "Signature": separator.join(("algorithm=RSA256", "keyVersion=1", f"signature={signature}"))}}

    def verify(r):
        h = r["headers"]
        return check_signature(r["method"], urllib.parse.urlsplit(r["url"]).path, h["client-id"], h["request-time"], r["body"], h["signature"], key)

    requests = {"ok": lambda t: request(t, ","), "spaced": lambda t: request(t, ", ")}
    return Provider("alipay", "global-open-sdk-python", "webhook_tool.check_signature", {"public_key_pem": PUBLIC_PEM, "public_key_base64": key}, requests, verify, timed=True, note="the signature is URL-encoded base64; Request-Time in RFC 3339 here")


def google_pubsub() -> Provider:
    import google.auth._helpers
    from google.auth import jwt

    google.auth._helpers.utcnow = lambda: datetime.fromtimestamp(NOW, timezone.utc).replace(tzinfo=None)
    audience = "https://hooks.example.com/in/google-pubsub"

    def ok(t):
        claims = {"aud": audience, "azp": "113774264463038321964", "email": "pusher@example.iam.gserviceaccount.com", "email_verified": True, "exp": t + 3600 - (3600 if t == OLD else 0), "iat": t, "iss": "https://accounts.google.com", "sub": "113774264463038321964"}
        text = ".".join(b64url(compact(part).encode()) for part in ({"alg": "RS256", "kid": "test-key-1", "typ": "JWT"}, claims))
        signature = b64url(base64.b64decode(rsa_sign(text)))
        forged = b64url(compact({**claims, "email": "other@example.iam.gserviceaccount.com"}).encode())
        return {
            "body": compact({"message": {"data": "SGVsbG8=", "messageId": "136969346945", "publishTime": "2026-05-28T20:26:35Z"}, "subscription": "projects/p/subscriptions/s"}),
            "headers": {"Authorization": f"Bearer {text}.{signature}"},
            "tampered": {"token": {"headers": {"Authorization": f"Bearer {text.split('.')[0]}.{forged}.{signature}"}}},
        }

    def verify(r):
        jwt.decode(r["headers"]["authorization"].removeprefix("Bearer "), certs={"test-key-1": PUBLIC_PEM}, audience=audience)

    return Provider(
        "google-pubsub", "google-auth", "jwt.decode", {"public_key_pem": PUBLIC_PEM, "audience": audience, "email": "pusher@example.iam.gserviceaccount.com"}, {"ok": ok}, verify, timed=True,
        note="OIDC token (RS256) in Authorization; the body is not signed; too old = the token has expired",
    )


def huggingface() -> Provider:
    from fastapi import Request
    from fastapi.responses import JSONResponse
    from huggingface_hub import _webhooks_server as server

    # The module takes these two from FastAPI only where Gradio is installed.
    server.Request, server.JSONResponse = Request, JSONResponse

    secret = "huggingface-webhook-secret"

    def ok(t):
        return {
            "body": compact({"event": {"action": "update", "scope": "repo.content"}, "repo": {"type": "model", "name": "a/b"}, "webhook": {"id": "6390e855e30d9209411de93b", "version": 3}}),
            "headers": {"X-Webhook-Secret": secret},
            "tampered": {"token": {"headers": {"X-Webhook-Secret": secret[:-1] + "x"}}},
        }

    def hook():
        return "ok"

    def verify(r):
        request = Request({"type": "http", "headers": [(b"x-webhook-secret", r["headers"]["x-webhook-secret"].encode())]})
        return asyncio.run(server._wrap_webhook_to_check_secret(hook, secret)(request)) == "ok"

    return Provider("huggingface", "huggingface-hub", "WebhooksServer secret check", {"secret": secret}, {"ok": ok}, verify, note="no signature: shared token")


PROVIDERS = [alipay, blockfrost, boldsign, emailit, google_pubsub, huggingface, mailgun, openpay, paypal, scrapfly, unit]


def flip(body: str) -> str:
    """One digit changed, so that the body keeps its shape."""
    at = list(re.finditer("[1-8]", body))[-1].start()
    return f"{body[:at]}{int(body[at]) + 1}{body[at + 1:]}"


def accepted(provider: Provider, request: dict) -> bool:
    try:
        lower = {name.lower(): value for name, value in request["headers"].items()}
        return provider.verify({**request, "headers": lower}) is not False
    except Exception:
        return False


def vectors(provider: Provider) -> list[dict]:
    out = []

    def add(name, request, valid, tampered=None):
        full = {"method": "POST", "url": f"https://hooks.example.com/in/{provider.slug}", **request}
        full["headers"] = {"Content-Type": "application/json", **request["headers"]}
        says, detail = accepted(provider, full), provider.detail
        if says != valid:
            if tampered != "timestamp-too-old":
                raise RuntimeError(f"{provider.slug} {name}: the SDK says {says}")
            detail += "; the age is for the receiver to check, the SDK has no time window"
        elif not valid:
            detail += "; tampered twin rejected by the SDK"
        out.append({
            "id": f"{provider.slug}-{name}",
            "provider": provider.slug,
            **({"scheme_note": provider.note} if provider.note else {}),
            "origin": "sdk",
            "origin_detail": detail,
            "source": f"{provider.sdk}@{version(provider.sdk)} (PyPI) {provider.by}",
            "secrets": provider.secrets,
            "method": full["method"],
            "url": full["url"],
            "now": NOW,
            "headers": full["headers"],
            "body": full["body"],
            "body_encoding": "utf8",
            "valid": valid,
            **({"tampered": tampered} if tampered else {}),
            "kind": "delivery",
        })

    for name, make in provider.requests.items():
        request = make(SENT)
        add(name, request, True)
        for what, twin in request.get("tampered", {"body": {"body": flip(request["body"])}}).items():
            add(f"{name}-tampered-{what}", {**request, **twin, "headers": {**request["headers"], **twin.get("headers", {})}}, False, what)
        if provider.timed:
            add(f"{name}-tampered-timestamp-too-old", make(OLD), False, "timestamp-too-old")
    return out


def main() -> int:
    out, failed = [], 0
    for make in PROVIDERS:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                out += vectors(make())
        except Exception as error:
            failed += 1
            print(f"failed: {make.__name__}: {error!r}", file=sys.stderr)
    print(json.dumps(out, indent=1, ensure_ascii=False))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
