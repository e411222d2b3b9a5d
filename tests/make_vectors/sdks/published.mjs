// Vectors that the vendors print in their documentation or in the test-suites of their SDKs (published.json, each with
// its source): recomputed here by the documented rule, with tampered twins: node published.mjs > published-vectors.json
import { createHash, createHmac, createPublicKey, verify as cryptoVerify } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const truelayer = require("truelayer-signing");

const hmac = (hash, key, text, encoding) => createHmac(hash, key).update(text).digest(encoding);
const pem = (text, signature, key) => cryptoVerify("sha256", Buffer.from(text), key, Buffer.from(signature, "base64"));

/** Whether the signature of a request is right: one rule a provider. */
const RULES = {
  bitbucket: (r, h, s) => h["x-hub-signature"] === `sha256=${hmac("sha256", s.secret, r.body, "hex")}`,
  circle: (r, h, s) => pem(r.body, h["x-circle-signature"], s.public_key_pem),
  duffel: (r, h, s) => {
    const [, t, v1] = /^t=(.+),v1=(.+)$/.exec(h["x-duffel-signature"]);
    return v1 === hmac("sha256", s.secret, `${t}.${r.body}`, "hex");
  },
  "hubspot-v1": (r, h, s) => h["x-hubspot-signature"] === createHash("sha256").update(s.secret + r.body).digest("hex"),
  "hubspot-v2": (r, h, s) => h["x-hubspot-signature"] === createHash("sha256").update(s.secret + r.method + r.url + r.body).digest("hex"),
  keygen: (r, h, s) => {
    const { host, pathname } = new URL(r.url);
    const digest = `sha-256=${createHash("sha256").update(r.body).digest("base64")}`;
    const text = `(request-target): ${r.method.toLowerCase()} ${pathname}\nhost: ${host}\ndate: ${h.date}\ndigest: ${digest}`;
    const der = Buffer.from(`302a300506032b6570032100${s.public_key_hex}`, "hex");
    const signature = /signature="([^"]+)"/.exec(h["keygen-signature"])[1];
    return cryptoVerify(null, Buffer.from(text), createPublicKey({ key: der, format: "der", type: "spki" }), Buffer.from(signature, "base64"));
  },
  mailgun: (r, h, s) => {
    const { timestamp, token, signature } = JSON.parse(r.body).signature;
    return signature === hmac("sha256", s.secret, timestamp + token, "hex");
  },
  moov: (r, h, s) => h["x-signature"] === hmac("sha512", s.secret, `${h["x-timestamp"]}|${h["x-nonce"]}|${h["x-webhook-id"]}`, "hex"),
  recurly: (r, h, s) => {
    const [t, ...signatures] = h["recurly-signature"].split(",");
    return signatures.includes(hmac("sha256", s.secret, `${t}.${r.body}`, "hex"));
  },
  revolut: (r, h, s) => h["revolut-signature"] === `v1=${hmac("sha256", s.secret, `v1.${h["revolut-request-timestamp"]}.${r.body}`, "hex")}`,
  sendgrid: (r, h, s) => pem(h["x-twilio-email-event-webhook-timestamp"] + r.body, h["x-twilio-email-event-webhook-signature"], s.public_key_pem),
  square: (r, h, s) => h["x-square-hmacsha256-signature"] === hmac("sha256", s.secret, r.url + r.body, "base64"),
  truelayer: (r, h, s) => {
    try {
      truelayer.verify({ publicKeyPem: s.public_key_pem, signature: h["tl-signature"], method: r.method, path: new URL(r.url).pathname, headers: h, body: r.body });
      return true;
    } catch {
      return false;
    }
  },
  "wechat-pay": (r, h, s) => pem(`${h["wechatpay-timestamp"]}\n${h["wechatpay-nonce"]}\n${r.body}\n`, h["wechatpay-signature"], s.public_key_pem),
  wise: (r, h, s) => pem(r.body, h["x-signature-sha256"], s.public_key_pem),
};

/** What a twin changes; a name with no entry is the name of a header. */
const CHANGES = {
  body: (r) => ({ body: r.body.replace(/[1-8a-y](?=[^1-8a-y]*$)/, (c) => String.fromCharCode(c.charCodeAt(0) + 1)) }),
  url: (r) => ({ url: `${r.url}x` }),
  token: (r) => ({ body: r.body.replace(/("token":"[^"]*).(")/, "$1z$2") }),
};
const header = (name) => (r) => ({ headers: { ...r.headers, [name]: r.headers[name].replace(/[0-9a-z](?=[A-Z]?$)/i, (c) => (c === "0" ? "1" : "0")) } });
const lower = (headers) => Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]));

const out = [];
for (const { provider, name, source, origin, detail, note, tampered, ...request } of JSON.parse(readFileSync(new URL("published.json", import.meta.url)))) {
  const add = (id, r, valid, what, right = valid) => {
    if (RULES[provider](r, lower(r.headers), r.secrets) !== right) throw new Error(`${provider} ${id}: not what the rule says`);
    out.push({
      id: `${provider}-${id}`,
      provider,
      ...(note && { scheme_note: note }),
      origin,
      origin_detail: what ? `${detail}; tampered twin made by altering the published vector` : detail,
      source,
      secrets: r.secrets,
      method: r.method,
      url: r.url,
      now: r.now,
      headers: r.headers,
      body: r.body,
      body_encoding: "utf8",
      valid,
      ...(what && { tampered: what }),
      kind: "delivery",
    });
  };
  add(name, request, true);
  for (const what of tampered) {
    if (what === "old") {
      add(`${name}-tampered-timestamp-too-old`, { ...request, now: request.now + 3600 }, false, "timestamp-too-old", true);
    } else {
      const label = CHANGES[what] ? what : /nonce/i.test(what) ? "nonce" : /timestamp/i.test(what) ? "timestamp" : "id";
      add(`${name}-tampered-${label}`, { ...request, ...(CHANGES[what] ?? header(what))(request) }, false, label);
    }
  }
}
console.log(JSON.stringify(out, null, 1));
