// What npm.mjs shares: the fixed clock, the test keys, and the loop that keeps only what a vendor's verifier says.
import { createHash, createHmac, createPrivateKey, createPublicKey, sign as cryptoSign } from "node:crypto";
import { readFileSync } from "node:fs";
import { p256 } from "@noble/curves/nist.js";

export const NOW = 1780000000;
export const SENT = NOW - 5;
export const OLD = NOW - 3600;

const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length > 0 ? args : [NOW * 1000]));
  }
  static now() {
    return NOW * 1000;
  }
};

export const iso = (seconds) => new RealDate(seconds * 1000).toISOString();
export const hmac = (hash, key, text, encoding) => createHmac(hash, key).update(text).digest(encoding);
export const sha256 = (text, encoding) => createHash("sha256").update(text).digest(encoding);
export const b64url = (data) => Buffer.from(data).toString("base64url");

const spki = (key) => key.export({ type: "spki", format: "pem" });

/** Ed25519 and P-256 test keys come from a hash, so that no private key has to be kept. */
export const ed25519 = (() => {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), sha256("vectors: ed25519 test key")]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const raw = createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-32);
  return { sign: (text) => cryptoSign(null, Buffer.from(text), key), publicKeyRaw: raw };
})();

export const ecP256 = (() => {
  const secret = sha256("vectors: P-256 test key");
  const point = Buffer.from(p256.getPublicKey(secret, false));
  const der = Buffer.concat([Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex"), point]);
  return {
    publicKeyDer: der,
    publicKeyPem: spki(createPublicKey({ key: der, format: "der", type: "spki" })),
    /** RFC 6979: the same signature in every run. */
    signDer: (text) => Buffer.from(p256.sign(Buffer.from(text), secret, { format: "der" })),
  };
})();

/** RSA (PKCS#1 v1.5 is deterministic): a key made for these tests, used nowhere else. */
export const rsa = (() => {
  const key = createPrivateKey(readFileSync(new URL("test-rsa-key.pem", import.meta.url)));
  const publicKey = createPublicKey(key);
  return {
    sign: (text) => cryptoSign("RSA-SHA256", Buffer.from(text), key),
    publicKeyPem: spki(publicKey),
    jwks: JSON.stringify({
      keys: [{ ...publicKey.export({ format: "jwk" }), kid: "test-key-1", alg: "RS256", use: "sig" }],
    }),
  };
})();

export const jwt = (header, payload, sign) => {
  const text = `${b64url(JSON.stringify(header))}.${b64url(JSON.stringify(payload))}`;
  return `${text}.${b64url(sign(text))}`;
};

const MADE = "made by the SDK and accepted by its verifier";
const MADE_ONLY = "made by the SDK's own signing function (it has no verifier: compared with that function's result here)";
const ACCEPTED = "signature accepted by the SDK verifier (SDK cannot sign)";
const REJECTED = "; tampered twin rejected by the SDK";

const lower = (headers) => Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]));

async function verdict(provider, request) {
  try {
    return (await provider.verify({ ...request, headers: lower(request.headers) })) !== false;
  } catch {
    return false;
  }
}

/** One byte of the body changed; JSON stays JSON and a form stays a form. */
function flip(body) {
  const at = body.search(/[1-8](?=[^0-9]*$)/);
  return `${body.slice(0, at)}${Number(body[at]) + 1}${body.slice(at + 1)}`;
}

/** The vectors of one provider: every valid request, each with its tampered twins, and its handshakes. */
export async function vectors(provider, version) {
  const url = `https://hooks.example.com/in/${provider.slug}`;
  const out = [];
  const add = async (name, request, valid, tampered) => {
    const full = { method: "POST", url, ...request };
    full.headers = { "Content-Type": "application/json", ...request.headers };
    const says = await verdict(provider, full);
    let detail = provider.sign ? (provider.noVerifier ? MADE_ONLY : MADE) : ACCEPTED;
    if (says !== valid) {
      if (tampered !== "timestamp-too-old") throw new Error(`${provider.slug} ${name}: the SDK says ${says}`);
      detail += "; the age is for the receiver to check, the SDK has no time window";
    } else if (!valid) {
      detail += provider.noVerifier ? "; tampered twin differs" : REJECTED;
    }
    out.push({
      id: `${provider.slug}-${name}`,
      provider: provider.slug,
      ...(provider.note && { scheme_note: provider.note }),
      origin: "sdk",
      origin_detail: detail,
      source: `${provider.sdk}@${version} ${provider.by}`,
      secrets: provider.secrets,
      method: full.method,
      url: full.url,
      now: NOW,
      headers: full.headers,
      body: full.body,
      body_encoding: "utf8",
      ...(full.opened && { opened: full.opened }),
      valid,
      ...(tampered && { tampered }),
      kind: "delivery",
    });
  };
  for (const [name, make] of Object.entries(provider.requests)) {
    const request = await make(SENT);
    await add(name, request, true);
    for (const [what, twin] of Object.entries(request.tampered ?? { body: { body: flip(request.body) } })) {
      await add(`${name}-tampered-${what}`, { ...request, ...twin, headers: { ...request.headers, ...twin.headers } }, false, what);
    }
    if (provider.timed) await add(`${name}-tampered-timestamp-too-old`, await make(OLD), false, "timestamp-too-old");
  }
  for (const [name, { response, ...request }] of Object.entries(provider.handshakes ?? {})) {
    out.push({
      id: `${provider.slug}-${name}`,
      provider: provider.slug,
      origin: "sdk",
      origin_detail: "response produced by SDK code",
      source: `${provider.sdk}@${version} ${provider.by}`,
      secrets: provider.secrets,
      method: "GET",
      url,
      now: NOW,
      headers: request.body ? { "Content-Type": "application/json" } : {},
      body: "",
      body_encoding: "utf8",
      ...request,
      valid: true,
      kind: "handshake",
      response,
    });
  }
  return out;
}
