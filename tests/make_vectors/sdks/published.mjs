// Vectors that the vendors print in their documentation or in the test-suites of their SDKs, and those that the sample
// code of a vendor accepted which is in no package registry (published.json, each with its source): recomputed here by
// the documented rule, with tampered twins: node published.mjs > published-vectors.json
import { createHash, createHmac, createPublicKey, verify as cryptoVerify } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const truelayer = require("truelayer-signing");

const hmac = (hash, key, text, encoding) => createHmac(hash, key).update(text).digest(encoding);
const pem = (text, signature, key) => cryptoVerify("sha256", Buffer.from(text), key, Buffer.from(signature, "base64"));

/** Whether the signature of a request is right: one rule a provider. */
const RULES = {
  agora: (r, h, s) => h["agora-signature-v2"] === hmac("sha256", s.secret, r.body, "hex"),
  aiprise: (r, h, s) => h["x-hmac-signature"] === hmac("sha256", s.secret, r.body, "hex"),
  airtable: (r, h, s) => h["x-airtable-content-mac"] === `hmac-sha256=${hmac("sha256", Buffer.from(s.secret, "base64"), r.body, "hex")}`,
  alchemy: (r, h, s) => h["x-alchemy-signature"] === hmac("sha256", s.secret, r.body, "hex"),
  bitbucket: (r, h, s) => h["x-hub-signature"] === `sha256=${hmac("sha256", s.secret, r.body, "hex")}`,
  calendly: (r, h, s) => {
    const [, t, v1] = /^t=(.+),v1=(.+)$/.exec(h["calendly-webhook-signature"]);
    return v1 === hmac("sha256", s.secret, `${t}.${r.body}`, "hex");
  },
  checkr: (r, h, s) => h["x-checkr-signature"] === hmac("sha256", s.secret, r.body, "hex"),
  circle: (r, h, s) => pem(r.body, h["x-circle-signature"], s.public_key_pem),
  commercelayer: (r, h, s) => h["x-commercelayer-signature"] === hmac("sha256", s.secret, r.body, "base64"),
  configcat: (r, h, s) => {
    const text = h["x-configcat-webhook-id"] + h["x-configcat-webhook-timestamp"] + r.body;
    return h["x-configcat-webhook-signature-v1"].split(",").includes(hmac("sha256", s.secret, text, "base64"));
  },
  duffel: (r, h, s) => {
    const [, t, v1] = /^t=(.+),v1=(.+)$/.exec(h["x-duffel-signature"]);
    return v1 === hmac("sha256", s.secret, `${t}.${r.body}`, "hex");
  },
  "front-rules": (r, h, s) => h["x-front-signature"] === hmac("sha1", s.secret, r.body, "base64"),
  heroku: (r, h, s) => h["heroku-webhook-hmac-sha256"] === hmac("sha256", s.secret, r.body, "base64"),
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
  npm: (r, h, s) => h["x-npm-signature"] === `sha256=${hmac("sha256", s.secret, r.body, "hex")}`,
  recurly: (r, h, s) => {
    const [t, ...signatures] = h["recurly-signature"].split(",");
    return signatures.includes(hmac("sha256", s.secret, `${t}.${r.body}`, "hex"));
  },
  revolut: (r, h, s) => h["revolut-signature"] === `v1=${hmac("sha256", s.secret, `v1.${h["revolut-request-timestamp"]}.${r.body}`, "hex")}`,
  "rhino-fi": (r, h, s) => cryptoVerify("sha256", Buffer.from(createHash("sha256").update(r.body).digest("hex")), s.public_key_pem, Buffer.from(h["x-rhino-signature"], "hex")),
  scalev: (r, h, s) => h["x-scalev-hmac-sha256"] === hmac("sha256", s.secret, r.body, "base64"),
  sendgrid: (r, h, s) => pem(h["x-twilio-email-event-webhook-timestamp"] + r.body, h["x-twilio-email-event-webhook-signature"], s.public_key_pem),
  signwell: (r, h, s) => {
    const { hash, type, time } = JSON.parse(r.body).event;
    return hash === hmac("sha256", s.secret, `${type}@${time}`, "hex");
  },
  snyk: (r, h, s) => h["x-hub-signature"] === `sha256=${hmac("sha256", s.secret, r.body, "hex")}`,
  square: (r, h, s) => h["x-square-hmacsha256-signature"] === hmac("sha256", s.secret, r.url + r.body, "base64"),
  tally: (r, h, s) => h["tally-signature"] === hmac("sha256", s.secret, r.body, "base64"),
  "tiktok-shop": (r, h, s) => h.authorization === hmac("sha256", s.secret, s.app_key + r.body, "hex"),
  "travis-ci": (r, h, s) => {
    const payload = Buffer.from(new URLSearchParams(r.body).get("payload"));
    return cryptoVerify("sha1", payload, s.public_key_pem, Buffer.from(h.signature, "base64"));
  },
  truelayer: (r, h, s) => {
    try {
      truelayer.verify({ publicKeyPem: s.public_key_pem, signature: h["tl-signature"], method: r.method, path: new URL(r.url).pathname, headers: h, body: r.body });
      return true;
    } catch {
      return false;
    }
  },
  vaultody: (r, h, s) => h["x-signature"] === hmac("sha256", s.secret, r.body, "base64"),
  webex: (r, h, s) => h["x-spark-signature"] === hmac("sha1", s.secret, r.body, "hex"),
  "wechat-pay": (r, h, s) => pem(`${h["wechatpay-timestamp"]}\n${h["wechatpay-nonce"]}\n${r.body}\n`, h["wechatpay-signature"], s.public_key_pem),
  wise: (r, h, s) => pem(r.body, h["x-signature-sha256"], s.public_key_pem),
  x: (r, h, s) => h["x-twitter-webhooks-signature"] === `sha256=${hmac("sha256", s.secret, r.body, "base64")}`,
};

/** What a twin changes; a name with no entry is the name of a header. */
const CHANGES = {
  // The last character that can be one more and belongs to no percent escape of a form.
  body: (r) => ({ body: r.body.replace(/(?<!%[0-9A-F]?)[1-8a-y](?!.*(?<!%[0-9A-F]?)[1-8a-y])/s, (c) => String.fromCharCode(c.charCodeAt(0) + 1)) }),
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
      origin_detail: what ? `${detail}; ${name === "sample" ? "tampered twin refused by it" : "tampered twin made by altering the published vector"}` : detail,
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
