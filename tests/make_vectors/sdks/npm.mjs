// Vectors made or accepted by the providers' own npm SDKs: npm ci && node npm.mjs > npm.json
//
// One entry a provider: `requests` makes a request at a given time, `verify` asks the SDK.
// `sign: true` says that the SDK itself made the signature (`noVerifier`: and cannot check it by itself);
// `timed` adds a twin that is too old; `handshakes` have the SDK's answer to a request that is no event.
import { createCipheriv, createSecretKey, createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { NOW, b64url, ecP256, ed25519, hmac, iso, jwt, rsa, sha256, vectors } from "./lib.mjs";

const require = createRequire(import.meta.url);
const json = (value) => JSON.stringify(value);
const form = { "Content-Type": "application/x-www-form-urlencoded" };
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const whkey = Buffer.from(WHSEC.slice(6), "base64");
const params = (body) => Object.fromEntries(new URLSearchParams(body));

/** A Standard Webhooks request; `prefix` is "webhook" or "svix". */
const standard = (prefix, key, body) => (t) => ({
  body,
  headers: {
    [`${prefix}-id`]: "msg_2b6a2d1c",
    [`${prefix}-timestamp`]: String(t),
    [`${prefix}-signature`]: `v1,${hmac("sha256", key, `msg_2b6a2d1c.${t}.${body}`, "base64")}`,
  },
});

const { Signature: HubSpot } = require("@hubspot/api-client/lib/src/utils/signature.js");
const hubspot = (version) => {
  const secret = "hubspot-client-secret";
  const names = { v1: "X-HubSpot-Signature", v2: "X-HubSpot-Signature", v3: "X-HubSpot-Signature-v3" };
  const url = `https://hooks.example.com/in/hubspot${version === "v3" ? "" : `-${version}`}?a=1&b=two`;
  const body = json([{ eventId: 1, subscriptionId: 12345, portalId: 62515, subscriptionType: "contact.creation", objectId: 123 }]);
  return {
    slug: version === "v3" ? "hubspot" : `hubspot-${version}`,
    sdk: "@hubspot/api-client",
    by: "Signature.getSignature / Signature.isValid",
    sign: true,
    timed: version === "v3",
    secrets: { secret },
    requests: {
      ok: (t) => {
        const options = { clientSecret: secret, requestBody: body, url, timestamp: t * 1000 };
        return {
          url,
          body,
          headers: {
            [names[version]]: HubSpot.getSignature("POST", version, options),
            ...(version === "v3" ? { "X-HubSpot-Request-Timestamp": String(t * 1000) } : { "X-HubSpot-Signature-Version": version }),
          },
        };
      },
    },
    verify: (r) =>
      HubSpot.isValid({
        method: r.method,
        signatureVersion: version,
        clientSecret: secret,
        requestBody: r.body,
        url: r.url,
        signature: r.headers[names[version].toLowerCase()],
        timestamp: Number(r.headers["x-hubspot-request-timestamp"]),
      }),
  };
};

const { EventWebhook } = require("@sendgrid/eventwebhook");
const sendgrid = {
  slug: "sendgrid",
  sdk: "@sendgrid/eventwebhook",
  by: "EventWebhook.verifySignature",
  timed: true,
  note: "ECDSA P-256 over timestamp + body, DER in base64; array body ending in CR LF, as SendGrid sends it",
  secrets: { public_key_pem: ecP256.publicKeyPem, public_key_base64: ecP256.publicKeyDer.toString("base64") },
  requests: {
    ok: (t) => {
      const body = `${json([{ email: "example@test.com", timestamp: 1779999990, event: "processed", sg_event_id: "c2dfZXZlbnQ", sg_message_id: "14c5d75ce93" }])}\r\n`;
      return {
        body,
        headers: {
          "X-Twilio-Email-Event-Webhook-Timestamp": String(t),
          "X-Twilio-Email-Event-Webhook-Signature": ecP256.signDer(`${t}${body}`).toString("base64"),
        },
      };
    },
  },
  verify: (r) => {
    const webhook = new EventWebhook();
    const key = webhook.convertPublicKeyToECDSA(ecP256.publicKeyDer.toString("base64"));
    return webhook.verifySignature(key, r.body, r.headers["x-twilio-email-event-webhook-signature"], r.headers["x-twilio-email-event-webhook-timestamp"]);
  },
};

const { WebhooksHelper } = require("square");
const square = {
  slug: "square",
  sdk: "square",
  by: "WebhooksHelper.verifySignature",
  secrets: { secret: "asdf1234" },
  requests: {
    ok: () => {
      const url = "https://hooks.example.com/in/square";
      const body = json({ merchant_id: "MLEFBHHSJGVHD", type: "payment.created", event_id: "e1c4a1b2-0001", created_at: "2026-05-28T20:26:35Z", data: { type: "payment", id: "KkAk1" } });
      return { url, body, headers: { "X-Square-HmacSha256-Signature": hmac("sha256", "asdf1234", url + body, "base64") } };
    },
    query: () => {
      const url = "https://hooks.example.com/in/square?tenant=7";
      const body = json({ type: "refund.updated", event_id: "e1c4a1b2-0002" });
      return {
        url,
        body,
        headers: { "X-Square-HmacSha256-Signature": hmac("sha256", "asdf1234", url + body, "base64") },
        tampered: { url: { url: "https://hooks.example.com/in/square?tenant=8" } },
      };
    },
  },
  verify: (r) =>
    WebhooksHelper.verifySignature({
      requestBody: r.body,
      signatureHeader: r.headers["x-square-hmacsha256-signature"],
      signatureKey: "asdf1234",
      notificationUrl: r.url,
    }),
};

const { TelnyxWebhook } = require("telnyx/lib/webhooks");
const telnyx = {
  slug: "telnyx",
  sdk: "telnyx",
  by: "TelnyxWebhook.verify",
  timed: true,
  secrets: { public_key_hex: ed25519.publicKeyRaw.toString("hex"), public_key_base64: ed25519.publicKeyRaw.toString("base64") },
  requests: {
    ok: (t) => {
      const body = json({ data: { record_type: "event", id: "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0", event_type: "call.initiated", occurred_at: "2026-05-28T20:26:35Z", payload: {} } });
      return { body, headers: { "telnyx-timestamp": String(t), "telnyx-signature-ed25519": ed25519.sign(`${t}|${body}`).toString("base64") } };
    },
  },
  verify: async (r) => (await new TelnyxWebhook(ed25519.publicKeyRaw.toString("base64")).verify(r.body, r.headers)) !== false,
};

const { WebhooksManager } = require("box-node-sdk/lib/managers/webhooks");
const boxSign = (key, body, time) => hmac("sha256", key, body + time, "base64");
const boxRequest = (primary, secondary) => (t) => {
  const time = iso(t).replace(".000Z", "-00:00");
  const body = json({ type: "webhook_event", id: "0f66b7b6-0001", created_at: "2026-05-28T13:26:35-07:00", trigger: "FILE.UPLOADED", webhook: { id: "3137" } });
  return {
    body,
    headers: {
      "BOX-DELIVERY-ID": "673a081b-bb4b-4d45-b4f1-4131a29c1d07",
      "BOX-DELIVERY-TIMESTAMP": time,
      "BOX-SIGNATURE-ALGORITHM": "HmacSHA256",
      "BOX-SIGNATURE-VERSION": "1",
      "BOX-SIGNATURE-PRIMARY": boxSign(primary, body, time),
      "BOX-SIGNATURE-SECONDARY": boxSign(secondary, body, time),
    },
  };
};
const box = {
  slug: "box",
  sdk: "box-node-sdk",
  by: "WebhooksManager.validateMessage",
  timed: true,
  note: "either key may match; default window 600 s and nothing from the future",
  secrets: { primary_key: "box-primary-key", secondary_key: "box-secondary-key" },
  requests: {
    ok: boxRequest("box-primary-key", "box-secondary-key"),
    "secondary-only": boxRequest("old-box-primary-key", "box-secondary-key"),
  },
  verify: (r) => WebhooksManager.validateMessage(r.body, r.headers, "box-primary-key", { secondaryKey: "box-secondary-key" }),
};

const { validateV3Signature } = require("plivo/dist/utils/v3Security");
const { validateSignature } = require("plivo/dist/utils/security");
const plivoV3 = (url, body, text, method = "POST") => () => ({
  method,
  url,
  body,
  headers: {
    ...form,
    "X-Plivo-Signature-V3-Nonce": "12345678901234567890",
    "X-Plivo-Signature-V3": hmac("sha256", "plivo-auth-token", `${text}.12345678901234567890`, "base64"),
  },
  ...(method === "GET" && { tampered: { url: { url: url.replace("444", "445") } } }),
});
const plivo = {
  slug: "plivo",
  sdk: "plivo",
  by: "validateV3Signature",
  note: "POST: url (query sorted) then '?' (or '.' after a query), then the sorted form pairs without separators, then '.' and the nonce",
  secrets: { secret: "plivo-auth-token" },
  requests: {
    ok: plivoV3("https://hooks.example.com/in/plivo", "To=15555555555&From=15555555444&CallUUID=abc-1", "https://hooks.example.com/in/plivo?CallUUIDabc-1From15555555444To15555555555"),
    "with-query": plivoV3("https://hooks.example.com/in/plivo?b=2&a=1", "To=15555555555&From=15555555444", "https://hooks.example.com/in/plivo?a=1&b=2.From15555555444To15555555555"),
    get: plivoV3("https://hooks.example.com/in/plivo?To=15555555555&From=15555555444", "", "https://hooks.example.com/in/plivo?From=15555555444&To=15555555555", "GET"),
  },
  verify: (r) => validateV3Signature(r.method, r.url, r.headers["x-plivo-signature-v3-nonce"], "plivo-auth-token", r.headers["x-plivo-signature-v3"], params(r.body)),
};
const plivoV2 = {
  slug: "plivo-v2",
  sdk: "plivo",
  by: "validateSignature",
  note: "the body is not signed; the url is signed without its query",
  secrets: { secret: "plivo-auth-token" },
  requests: {
    ok: () => ({
      url: "https://hooks.example.com/in/plivo-v2?a=1",
      body: "To=15555555555&From=15555555444",
      headers: {
        ...form,
        "X-Plivo-Signature-V2-Nonce": "05429567804466091622",
        "X-Plivo-Signature-V2": hmac("sha256", "plivo-auth-token", "https://hooks.example.com/in/plivo-v205429567804466091622", "base64"),
      },
      tampered: {
        nonce: { headers: { "X-Plivo-Signature-V2-Nonce": "05429567804466091623" } },
        url: { url: "https://hooks.example.com/in/plivo-v3?a=1" },
      },
    }),
  },
  verify: (r) => validateSignature(r.url, r.headers["x-plivo-signature-v2-nonce"], r.headers["x-plivo-signature-v2"], "plivo-auth-token"),
};

const Razorpay = require("razorpay");
/** Vendors that sign the bare body with an HMAC. */
const bare = (slug, sdk, by, header, secret, body, { hash = "sha256", encoding = "hex", key = secret, prefix = "", ...more }, verify) => ({
  slug,
  sdk,
  by,
  secrets: { secret },
  ...more,
  requests: { ok: () => ({ body, headers: { ...more.headers, [header]: prefix + hmac(hash, key, body, encoding) } }) },
  verify: (r) => verify(r.body, r.headers[header.toLowerCase()], r),
});
const razorpay = bare(
  "razorpay", "razorpay", "Razorpay.validateWebhookSignature", "X-Razorpay-Signature", "razorpay_secret",
  json({ entity: "event", account_id: "acc_BFQ7uQEaa7j2z7", event: "payment.captured", payload: {}, created_at: 1779999990 }),
  { headers: { "x-razorpay-event-id": "KYGBZAvZp1Qz1i" } },
  (body, signature) => Razorpay.validateWebhookSignature(body, signature, "razorpay_secret"),
);

const Viber = require("viber-bot/lib/message/message-validator");
const viber = bare(
  "viber", "viber-bot", "MessageValidator.validateMessage", "X-Viber-Content-Signature", "445da6az1s345z78-dazcczb2542zv51a-e0vc5fva17480im9",
  json({ event: "delivered", timestamp: 1779999995000, message_token: 491266184665523140, user_id: "01234567890A=" }), {},
  (body, signature) => new Viber({ debug() {} }, "445da6az1s345z78-dazcczb2542zv51a-e0vc5fva17480im9").validateMessage(signature, body),
);

/** WhatsApp's SDK of Meta: its `exports` hide the function that its web server compares with. */
const whatsapp = require(fileURLToPath(new URL("node_modules/whatsapp/build/utils.js", import.meta.url)));
const meta = {
  slug: "meta",
  sdk: "whatsapp",
  by: "generateXHub256Sig",
  sign: true,
  noVerifier: true,
  note: "HMAC of the raw bytes; Meta escapes non-ASCII as \\u sequences before signing",
  secrets: { secret: "meta-app-secret" },
  requests: {
    ok: () => {
      const body = json({ object: "whatsapp_business_account", entry: [{ id: "102290129340398", changes: [{ value: { messaging_product: "whatsapp", messages: [{ id: "wamid.HBgL", timestamp: "1779999990", type: "text", text: { body: "Hi" } }] }, field: "messages" }] }] });
      return { body, headers: { "X-Hub-Signature-256": `sha256=${whatsapp.generateXHub256Sig(body, "meta-app-secret")}` } };
    },
    escaped: () => {
      const body = '{"object":"page","entry":[{"id":"1","time":1779999990,"messaging":[{"message":{"mid":"m_1","text":"gr\\u00fc\\u00df"}}]}]}';
      return { body, headers: { "X-Hub-Signature-256": `sha256=${whatsapp.generateXHub256Sig(body, "meta-app-secret")}` } };
    },
  },
  verify: (r) => r.headers["x-hub-signature-256"].replace("sha256=", "") === whatsapp.generateXHub256Sig(r.body, "meta-app-secret"),
};

const smartcar = require("smartcar");
const smartcarHook = {
  slug: "smartcar",
  sdk: "smartcar",
  by: "hashChallenge / verifyPayload",
  sign: true,
  note: "the SDK signs JSON.stringify of the parsed body, equal to the raw body here",
  secrets: { secret: "smartcar-amt" },
  requests: {
    ok: () => {
      const body = json({ eventId: "evt-1", eventType: "VEHICLE_STATE", data: { user: { id: "u1" } }, meta: { deliveredAt: 1779999995000, version: "4.0" } });
      return { body, headers: { "SC-Signature": smartcar.hashChallenge("smartcar-amt", body) } };
    },
  },
  verify: (r) => smartcar.verifyPayload("smartcar-amt", r.headers["sc-signature"], JSON.parse(r.body)),
};

const { SignatureValidator } = require("mollie-api-typescript/utils/webhooks/signature_validator.js");
const mollie = {
  slug: "mollie",
  sdk: "mollie-api-typescript",
  by: "SignatureValidator.createSignature / validate",
  sign: true,
  secrets: { secret: "mollie-signing-secret" },
  requests: Object.fromEntries(
    [["ok", "sha256="], ["no-prefix", ""]].map(([name, prefix]) => [
      name,
      async () => {
        const body = json({ resource: "event", id: "event_GvJ8WHrp5isUdRub9CJyH", type: "payment-link.paid", entityId: "pl_qng5gbbv8NAZ5gpM5ZYgx" });
        return { body, headers: { "X-Mollie-Signature": prefix + (await SignatureValidator.createSignature(body, "mollie-signing-secret")) } };
      },
    ]),
  ),
  verify: (r) => SignatureValidator.validate(r.body, "mollie-signing-secret", r.headers["x-mollie-signature"]),
};

const Lithic = require("lithic").default;
const lithic = {
  slug: "lithic",
  sdk: "lithic",
  by: "webhooks.verifySignature",
  timed: true,
  secrets: { secret: WHSEC },
  requests: { ok: standard("webhook", whkey, json({ event_type: "card.created", card_token: "00000000-0000-0000-0000-000000000001" })) },
  verify: (r) => {
    new Lithic({ apiKey: "unused" }).webhooks.verifySignature(r.body, r.headers, WHSEC);
  },
};

const { ImageKit } = require("@imagekit/nodejs");
const imagekit = {
  slug: "imagekit",
  sdk: "@imagekit/nodejs",
  by: "webhooks.unwrap",
  timed: true,
  note: "Standard Webhooks, but the key is the whole secret as text (whsec_ included), not decoded",
  secrets: { secret: "whsec_imagekit_test" },
  requests: { ok: standard("webhook", "whsec_imagekit_test", json({ id: "58e6d24d", type: "file.created", created_at: "2026-05-28T20:26:35Z", data: {} })) },
  verify: (r) => {
    new ImageKit({ privateKey: "unused" }).webhooks.unwrap(r.body, { headers: r.headers, key: "whsec_imagekit_test" });
  },
};

const { Surge } = require("@surgeapi/node");
const surge = {
  slug: "surge",
  sdk: "@surgeapi/node",
  by: "webhooks.unwrap",
  timed: true,
  secrets: { secret: WHSEC },
  requests: { ok: standard("webhook", whkey, json({ account_id: "acct_01", data: {}, timestamp: "2026-05-28T20:26:35Z", type: "message.received" })) },
  verify: (r) => {
    new Surge({ apiKey: "unused" }).webhooks.unwrap(r.body, { headers: r.headers, key: WHSEC });
  },
};

const { Webhook: PortOne } = require("@portone/server-sdk");
const portone = {
  slug: "portone",
  sdk: "@portone/server-sdk",
  by: "Webhook.verify",
  timed: true,
  secrets: { secret: WHSEC },
  requests: { ok: standard("webhook", whkey, json({ type: "Transaction.Paid", timestamp: "2026-05-28T20:26:35Z", data: { paymentId: "p-1", storeId: "store-1", transactionId: "t-1" } })) },
  verify: async (r) => {
    await PortOne.verify(WHSEC, r.body, r.headers);
  },
};

const { SeamWebhook } = require("@seamapi/webhook");
const seam = {
  slug: "seam",
  sdk: "@seamapi/webhook",
  by: "SeamWebhook.verify",
  timed: true,
  secrets: { secret: WHSEC },
  requests: { ok: standard("svix", whkey, json({ event_id: "e-1", event_type: "device.connected", device_id: "d-1", occurred_at: "2026-05-28T20:26:35Z" })) },
  verify: (r) => {
    new SeamWebhook(WHSEC).verify(r.body, r.headers);
  },
};

const { PrivyClient } = require("@privy-io/node");
const privy = {
  slug: "privy",
  sdk: "@privy-io/node",
  by: "webhooks().verify",
  timed: true,
  secrets: { secret: WHSEC },
  requests: { ok: standard("svix", whkey, json({ type: "user.created", user: { id: "did:privy:1", created_at: 1779999990 } })) },
  verify: (r) => {
    new PrivyClient({ appId: "unused", appSecret: "unused" }).webhooks().verify({ payload: r.body, headers: r.headers, signing_secret: WHSEC });
  },
};

const messagebirdJwt = require("messagebird/lib/webhook-signature-jwt");
const messagebird = {
  slug: "messagebird",
  sdk: "messagebird",
  by: "webhook-signature-jwt verify",
  timed: true,
  note: "JWT HS256 with url_hash and payload_hash; issuer MessageBird",
  secrets: { secret: "hunter2" },
  requests: {
    ok: (t) => {
      const url = "https://hooks.example.com/in/messagebird?example=42";
      const body = json({ message: { id: "e8077d803532c0b5937c639b60216938" }, type: "message.created" });
      const claims = { iss: "MessageBird", nbf: t, iat: t, exp: t + 60, jti: "b92a6a3f-1b6b-4a40-a0f7-a1b2c3d4e5f6", url_hash: sha256(url, "hex"), payload_hash: sha256(body, "hex") };
      return {
        url,
        body,
        headers: { "MessageBird-Signature-JWT": jwt({ alg: "HS256", typ: "JWT" }, claims, (text) => hmac("sha256", "hunter2", text)) },
        tampered: {
          body: { body: body.replace("created", "updated") },
          url: { url: "https://hooks.example.com/in/messagebird?example=43" },
        },
      };
    },
    "empty-body": (t) => {
      const url = "https://hooks.example.com/in/messagebird?id=1&status=delivered";
      const claims = { iss: "MessageBird", nbf: t, iat: t, exp: t + 60, jti: "b92a6a3f-1b6b-4a40-a0f7-a1b2c3d4e5f7", url_hash: sha256(url, "hex") };
      return {
        method: "GET",
        url,
        body: "",
        headers: { "MessageBird-Signature-JWT": jwt({ alg: "HS256", typ: "JWT" }, claims, (text) => hmac("sha256", "hunter2", text)) },
        tampered: { url: { url: "https://hooks.example.com/in/messagebird?id=1&status=failed" } },
      };
    },
  },
  verify: (r) => messagebirdJwt.verify(r.url, r.body, r.headers["messagebird-signature-jwt"], createSecretKey(Buffer.from("hunter2"))),
};

const { signRequest, verifyRequest } = require("@contentful/node-apps-toolkit");
const CONTENTFUL_SECRET = "q6Hd9fT2mXw4Zs8KcVb1NyRj7LpGuEa0q6Hd9fT2mXw4Zs8KcVb1NyRj7LpGuEa0";
const contentful = {
  slug: "contentful",
  sdk: "@contentful/node-apps-toolkit",
  by: "signRequest / verifyRequest",
  sign: true,
  timed: true,
  note: "default window 30 s in the SDK",
  secrets: { secret: CONTENTFUL_SECRET },
  requests: {
    ok: (t) => {
      const body = json({ sys: { type: "Entry", id: "7gSzCtMH", revision: 2 }, fields: {} });
      const signed = { "X-Contentful-Topic": "ContentManagement.Entry.publish", "X-Contentful-Webhook-Name": "hook" };
      return { body, headers: { ...signed, ...signRequest(CONTENTFUL_SECRET, { method: "POST", path: "/in/contentful", headers: signed, body }, t * 1000) } };
    },
  },
  verify: (r) => verifyRequest(CONTENTFUL_SECRET, { method: r.method, path: new URL(r.url).pathname, headers: r.headers, body: r.body }),
};

const Mux = require("@mux/mux-node").default;
const mux = {
  slug: "mux",
  sdk: "@mux/mux-node",
  by: "webhooks.verifySignature",
  timed: true,
  secrets: { secret: "SuperSecret123" },
  requests: {
    ok: (t) => {
      const body = json({ type: "video.asset.ready", id: "3a56ac3d-33da-4366-855b-f592d898409d", created_at: "2026-05-28T20:26:35Z", data: { id: "a-1" } });
      return { body, headers: { "Mux-Signature": `t=${t},v1=${hmac("sha256", "SuperSecret123", `${t}.${body}`, "hex")}` } };
    },
    "two-signatures": (t) => {
      const body = json({ type: "video.asset.deleted", id: "3a56ac3d-33da-4366-855b-f592d8984091" });
      return { body, headers: { "Mux-Signature": `t=${t},v1=${"0".repeat(64)},v1=${hmac("sha256", "SuperSecret123", `${t}.${body}`, "hex")}` } };
    },
  },
  verify: (r) => new Mux({ tokenId: "unused", tokenSecret: "unused" }).webhooks.verifySignature(r.body, r.headers, "SuperSecret123").then(() => true),
};

const Orb = require("orb-billing").default;
const orbClient = new Orb({ apiKey: "unused" });
const orb = {
  slug: "orb",
  sdk: "orb-billing",
  by: "webhooks.signPayload / verifySignature",
  sign: true,
  timed: true,
  secrets: { secret: "c-UGKYdnhHh436B_sMouYAPUvXyWpzOdunZBV5dFSD8" },
  requests: {
    ok: (t) => {
      const timestamp = iso(t).replace("000Z", "500000");
      const body = json({ id: "o4mmewpfNNTnjfZc", created_at: iso(t), type: "resource_event.test", details: { message: "hello" } });
      return { body, headers: { "X-Orb-Timestamp": timestamp, "X-Orb-Signature": orbClient.webhooks.signPayload(body, { timestamp, secret: "c-UGKYdnhHh436B_sMouYAPUvXyWpzOdunZBV5dFSD8" }), } };
    },
  },
  verify: (r) => {
    orbClient.webhooks.verifySignature(r.body, r.headers, "c-UGKYdnhHh436B_sMouYAPUvXyWpzOdunZBV5dFSD8");
  },
};

const { SMS } = require("@vonage/sms");
const vonageText = (p) => Object.keys(p).filter((k) => k !== "sig").sort().map((k) => `&${k}=${p[k].replace(/[&=]/g, "_")}`).join("");
const vonageRequest = (method) => (t) => {
  const p = { msisdn: "447700900001", to: "447700900000", messageId: "0A0000000123ABCD1", text: "a=b & c=d", type: "text", keyword: "HELLO", "message-timestamp": "2026-05-28 20:26:35", timestamp: String(t), nonce: "aaaaaaaa-bbbb-cccc-dddd-0123456789ab" };
  const sig = method === "MD5HASH"
    ? createHash("md5").update(`${vonageText(p)}vonage-signature-secret`).digest("hex")
    : hmac(method.slice(0, -4).toLowerCase(), "vonage-signature-secret", vonageText(p), "hex");
  return {
    body: new URLSearchParams({ ...p, sig }).toString(),
    headers: form,
    tampered: { body: { body: new URLSearchParams({ ...p, text: "a=b & c=e", sig }).toString() } },
  };
};
const vonageSms = ["md5hash", "md5", "sha1", "sha256", "sha512"].map((method) => {
  const algorithm = method === "md5hash" ? "MD5HASH" : `${method.toUpperCase()}HMAC`;
  return {
    slug: "vonage-sms",
    sdk: "@vonage/sms",
    by: `SMS.verifySignature (${algorithm})`,
    timed: method === "sha256",
    note: `signature method ${method} (account setting); & and = in values become _`,
    secrets: { secret: "vonage-signature-secret", method },
    requests: { [method]: vonageRequest(algorithm) },
    verify: (r) => {
      const p = params(r.body);
      return new SMS({ apiKey: "unused", apiSecret: "unused" }).verifySignature(p.sig, p, "vonage-signature-secret", algorithm);
    },
  };
});

const saleorAuth = require("@saleor/app-sdk/auth");
const saleor = {
  slug: "saleor",
  sdk: "@saleor/app-sdk",
  by: "verifySignatureWithJwks",
  note: "detached RS256 JWS with b64=false over the raw body",
  secrets: { public_key_pem: rsa.publicKeyPem, jwks: rsa.jwks },
  requests: {
    ok: () => {
      const body = json([{ id: "T3JkZXI6MQ==", type: "Order", number: "21" }]);
      const head = b64url(json({ alg: "RS256", kid: "test-key-1", typ: "JWT", b64: false, crit: ["b64"] }));
      return {
        body,
        headers: { "Saleor-Event": "order_created", "Saleor-Domain": "shop.example.com", "Saleor-Signature": `${head}..${b64url(rsa.sign(`${head}.${body}`))}` },
      };
    },
  },
  verify: (r) => saleorAuth.verifySignatureWithJwks(rsa.jwks, r.headers["saleor-signature"], r.body).then(() => true),
};

const kindeHooks = require("@kinde/webhooks");
const kinde = {
  slug: "kinde",
  sdk: "@kinde/webhooks",
  by: "decodeWebhook (key download stubbed)",
  note: "the body is the JWT; the SDK reads <domain>/.well-known/jwks.json and checks no age",
  secrets: { public_key_pem: rsa.publicKeyPem, jwks: rsa.jwks },
  requests: {
    ok: (t) => {
      const claims = { data: { user: { id: "kp_1", email: "a@example.com" } }, event_id: "event_018f", event_timestamp: iso(t), source: "admin", timestamp: iso(t), type: "user.updated" };
      const body = jwt({ alg: "RS256", kid: "test-key-1", typ: "JWT" }, claims, rsa.sign);
      const [head, , signature] = body.split(".");
      return {
        body,
        headers: { "Content-Type": "application/jwt" },
        tampered: { body: { body: `${head}.${b64url(json({ ...claims, type: "user.deleted" }))}.${signature}` } },
      };
    },
  },
  verify: async (r) => {
    globalThis.fetch = async () => new Response(rsa.jwks, { headers: { "Content-Type": "application/json" } });
    return (await kindeHooks.decodeWebhook(r.body, "https://example.kinde.com")) !== null;
  },
};

const atlassian = require("atlassian-jwt");
const jiraConnect = {
  slug: "jira-connect",
  sdk: "atlassian-jwt",
  by: "encodeSymmetric, createQueryStringHash / decodeSymmetric",
  sign: true,
  noVerifier: true,
  timed: true,
  note: "the JWT covers method, path and query (qsh), not the body; the SDK decodes, qsh and exp are compared here",
  secrets: { secret: "jira-connect-shared-secret" },
  requests: {
    ok: (t) => {
      const url = "https://hooks.example.com/in/jira-connect?user_id=a%20b&a=1";
      const qsh = atlassian.createQueryStringHash(atlassian.fromMethodAndUrl("POST", "/in/jira-connect?user_id=a%20b&a=1"));
      const token = atlassian.encodeSymmetric({ iss: "client-key", iat: t, exp: t + 180, qsh }, "jira-connect-shared-secret", atlassian.SymmetricAlgorithm.HS256);
      return {
        url,
        body: json({ timestamp: t * 1000, webhookEvent: "jira:issue_updated", issue: { id: "10002" } }),
        headers: { Authorization: `JWT ${token}` },
        tampered: { url: { url: url.replace("a=1", "a=2") } },
      };
    },
  },
  verify: (r) => {
    const claims = atlassian.decodeSymmetric(r.headers.authorization.slice(4), "jira-connect-shared-secret", atlassian.SymmetricAlgorithm.HS256);
    const { pathname, search } = new URL(r.url);
    return claims.exp > NOW && claims.qsh === atlassian.createQueryStringHash(atlassian.fromMethodAndUrl(r.method, pathname + search));
  },
};

const { WebhookSignatureValidator } = require("mercadopago");
const mercadoRequest = (query, headers, text) => (t) => {
  const url = `https://hooks.example.com/in/mercado-pago?${query}`;
  return {
    url,
    body: json({ id: 12345, live_mode: true, type: "payment", action: "payment.created", data: { id: "123456" } }),
    headers: { ...headers, "x-signature": `ts=${t},v1=${hmac("sha256", "mercado-secret", `${text}ts:${t};`, "hex")}` },
    tampered: { url: { url: url.replace("123456", "123457") } },
  };
};
const mercadoPago = {
  slug: "mercado-pago",
  sdk: "mercadopago",
  by: "WebhookSignatureValidator.validate",
  timed: true,
  note: "the body is not signed: data.id of the query, x-request-id and ts are; ts in seconds (SDK), window asked for: 300 s",
  secrets: { secret: "mercado-secret" },
  requests: {
    ok: mercadoRequest("data.id=123456&type=payment", { "x-request-id": "bb56a2f1-6aae-46ac-982e-9dcd3581d08e" }, "id:123456;request-id:bb56a2f1-6aae-46ac-982e-9dcd3581d08e;"),
    "no-request-id": mercadoRequest("data.id=123456&type=payment", {}, "id:123456;"),
  },
  verify: (r) => {
    WebhookSignatureValidator.validate({
      xSignature: r.headers["x-signature"],
      xRequestId: r.headers["x-request-id"],
      dataId: new URL(r.url).searchParams.get("data.id"),
      secret: "mercado-secret",
      toleranceSeconds: 300,
    });
  },
};

const { hmacValidator: HmacValidator } = require("@adyen/api-library");
const ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
const adyenPlatform = {
  slug: "adyen-platform",
  sdk: "@adyen/api-library",
  by: "hmacValidator.calculateHmac / validateHMACSignature",
  sign: true,
  note: "the key is hex",
  secrets: { hmac_key_hex: ADYEN_KEY },
  requests: {
    ok: () => {
      const body = json({ data: { balancePlatform: "YOUR_BALANCE_PLATFORM", id: "BA00000000000000000000001" }, environment: "test", type: "balancePlatform.balanceAccount.created" });
      return { body, headers: { HmacSignature: new HmacValidator().calculateHmac(body, ADYEN_KEY) } };
    },
  },
  verify: (r) => new HmacValidator().validateHMACSignature(ADYEN_KEY, r.headers.hmacsignature, r.body),
};

const { verifyAndParseWebhook } = require("@lightsparkdev/lightspark-sdk");
const lightspark = bare(
  "lightspark", "@lightsparkdev/lightspark-sdk", "verifyAndParseWebhook", "lightspark-signature", "3gZ5oQQUASYmqQNuEk0KambNMVkOADDItIJjzUlAWjX",
  json({ event_type: "NODE_STATUS", event_id: "1615c8be5aa44e429eba700db2ed8ca5", timestamp: "2026-05-28T20:26:35.000000+00:00", entity_id: "lightning_node:01882c25" }), {},
  (body, signature) => verifyAndParseWebhook(Buffer.from(body), signature, "3gZ5oQQUASYmqQNuEk0KambNMVkOADDItIJjzUlAWjX").then(() => true),
);

const { createCreem } = require("creem_io");
const creem = bare(
  "creem", "creem_io", "webhooks.handleEvents", "creem-signature", "whsec_creem_test",
  json({ id: "evt_5WHHcZPv7VS0YUsberIuOz", eventType: "checkout.completed", created_at: 1779999990000, object: { id: "ch_1", object: "checkout" } }), {},
  (body, signature) => createCreem({ apiKey: "unused", webhookSecret: "whsec_creem_test" }).webhooks.handleEvents(body, signature, {}).then(() => true),
);

const Solidgate = require("@solidgate/node-sdk/src/api.js");
const solidgate = {
  slug: "solidgate",
  sdk: "@solidgate/node-sdk",
  by: "Api._generateSignature",
  sign: true,
  noVerifier: true,
  note: "key pair of the webhook: merchant = public key; base64 of the hex text",
  secrets: { public_key: "wh_pk_test", secret: "wh_sk_test" },
  requests: {
    ok: () => {
      const body = json({ order: { order_id: "ord-1", status: "settle_ok", amount: 1020 }, callback_type: "full" });
      return { body, headers: { merchant: "wh_pk_test", signature: new Solidgate("wh_pk_test", "wh_sk_test")._generateSignature(body) } };
    },
  },
  verify: (r) => new Solidgate(r.headers.merchant, "wh_sk_test")._generateSignature(r.body) === r.headers.signature,
};

const Cronofy = require("cronofy");
const cronofyBody = json({ notification: { type: "change", changes_since: "2026-05-28T20:26:35Z" }, channel: { channel_id: "chn_1" } });
const cronofySign = (secret) => hmac("sha256", secret, cronofyBody, "base64");
const cronofy = {
  slug: "cronofy",
  sdk: "cronofy",
  by: "hmacValid",
  note: "comma-separated list while secrets rotate",
  secrets: { secret: "cronofy-client-secret" },
  requests: {
    ok: () => ({ body: cronofyBody, headers: { "Cronofy-HMAC-SHA256": cronofySign("cronofy-client-secret") }, tampered: { body: { body: cronofyBody.replace("chn_1", "chn_2") } } }),
    rotated: () => ({ body: cronofyBody, headers: { "Cronofy-HMAC-SHA256": `${cronofySign("older-secret")},${cronofySign("cronofy-client-secret")}` }, tampered: { body: { body: cronofyBody.replace("chn_1", "chn_2") } } }),
  },
  verify: (r) => new Cronofy({ client_id: "unused", client_secret: "unused" }).hmacValid({ hmac: r.headers["cronofy-hmac-sha256"], body: r.body, client_secret: "cronofy-client-secret" }),
};

const { basicAuthValidator } = require("chargebee");
const chargebee = {
  slug: "chargebee",
  sdk: "chargebee",
  by: "basicAuthValidator",
  note: "no signature: HTTP Basic",
  secrets: { username: "hook-user", password: "hook-password" },
  requests: {
    ok: () => ({
      body: json({ id: "ev_16BHbhF4s42tO2lJ", occurred_at: 1779999990, source: "admin_console", object: "event", api_version: "v2", event_type: "customer_created", content: {} }),
      headers: { Authorization: `Basic ${Buffer.from("hook-user:hook-password").toString("base64")}` },
      tampered: { token: { headers: { Authorization: `Basic ${Buffer.from("hook-user:hook-passwore").toString("base64")}` } } },
    }),
  },
  verify: async (r) => {
    await basicAuthValidator((user, password) => user === "hook-user" && password === "hook-password")(r.headers);
  },
};

const { StandardCheckoutClient, Env, PhonePeException } = require("pg-sdk-node");
const phonepe = {
  slug: "phonepe",
  sdk: "pg-sdk-node",
  by: "StandardCheckoutClient.validateCallback",
  note: "no signature: Authorization is the SHA-256 of username:password",
  secrets: { username: "hookuser", password: "hookpass1" },
  requests: {
    ok: () => ({
      body: json({ event: "checkout.order.completed", payload: { merchantId: "M1", orderId: "OMO1", state: "COMPLETED", amount: 1000 } }),
      headers: { Authorization: sha256("hookuser:hookpass1", "hex") },
      tampered: { token: { headers: { Authorization: sha256("hookuser:hookpass2", "hex") } } },
    }),
  },
  verify: (r) => {
    globalThis.fetch = async () => new Response("{}");
    try {
      StandardCheckoutClient.getInstance("unused", "unused", 1, Env.SANDBOX, false).validateCallback("hookuser", "hookpass1", r.headers.authorization, r.body);
    } catch (error) {
      if (error instanceof PhonePeException) return false; // "Invalid Callback"; anything else comes from parsing the body
    }
    return true;
  },
};

const { RestClient: SignalWire } = require("@signalwire/compatibility-api");
const signalwire = {
  slug: "signalwire",
  sdk: "@signalwire/compatibility-api",
  by: "RestClient.validateRequest",
  note: "as Twilio: HMAC-SHA1 of the url and the sorted form pairs",
  secrets: { secret: "PSK_signing_key" },
  requests: {
    ok: () => {
      const url = "https://hooks.example.com/in/signalwire";
      const body = "MessageSid=abc-1&From=%2B15555550100&To=%2B15555550101&Body=Hi+there";
      const text = Object.entries(params(body)).sort().flat().join("");
      const signature = hmac("sha1", "PSK_signing_key", url + text, "base64");
      return { url, body, headers: { ...form, "X-SignalWire-Signature": signature }, tampered: { body: { body: body.replace("Hi", "Ho") } } };
    },
  },
  verify: (r) => SignalWire.validateRequest("PSK_signing_key", r.headers["x-signalwire-signature"], r.url, params(r.body), true),
};

const { Signature: Paytrail } = require("@paytrail/paytrail-js-sdk/dist/utils/signature.util.js");
const paytrail = {
  slug: "paytrail",
  sdk: "@paytrail/paytrail-js-sdk",
  by: "Signature.calculateHmac / validateHmac",
  sign: true,
  note: "callback is a GET: HMAC of the sorted checkout-* query parameters as name:value lines and an empty body line",
  secrets: { secret: "SAIPPUAKAUPPIAS" },
  requests: {
    ok: () => {
      const p = { "checkout-account": "375917", "checkout-algorithm": "sha256", "checkout-amount": "2964", "checkout-stamp": "15336332710015", "checkout-reference": "192387192837195", "checkout-transaction-id": "4b300af6-9a22-11e8-9184-abb6de7fd2d0", "checkout-status": "ok", "checkout-provider": "nordea" };
      const url = `https://hooks.example.com/in/paytrail?${new URLSearchParams({ ...p, signature: Paytrail.calculateHmac("SAIPPUAKAUPPIAS", p, "") })}`;
      return { method: "GET", url, body: "", headers: {}, tampered: { url: { url: url.replace("=2964", "=2965") } } };
    },
  },
  verify: (r) => {
    const { signature, ...p } = Object.fromEntries(new URL(r.url).searchParams);
    return Paytrail.validateHmac(p, "", signature, "SAIPPUAKAUPPIAS");
  },
};

const opennodeLib = require("opennode");
const opennode = {
  slug: "opennode",
  sdk: "opennode",
  by: "verifySignature",
  note: "form field hashed_order = HMAC of the charge id with the API key",
  secrets: { secret: "opennode-api-key" },
  requests: {
    ok: () => {
      const body = new URLSearchParams({ id: "47bb5fe0-4a1e-4ac1-8f0f-000000000001", callback_url: "https://hooks.example.com/in/opennode", status: "paid", order_id: "21", price: "1000", hashed_order: hmac("sha256", "opennode-api-key", "47bb5fe0-4a1e-4ac1-8f0f-000000000001", "hex") }).toString();
      return { body, headers: form, tampered: { id: { body: body.replace("000000000001", "000000000002") } } };
    },
  },
  verify: (r) => new opennodeLib.OpenNodeClient("opennode-api-key", "dev").verifySignature(params(r.body)),
};

const { verifyPlainWebhook } = require("@team-plain/typescript-sdk");
const plain = {
  slug: "plain",
  sdk: "@team-plain/typescript-sdk",
  by: "verifyPlainWebhook",
  timed: true,
  note: "HMAC of the body; its age is in the body (webhookMetadata.webhookDeliveryAttemptTimestamp), window 300 s",
  secrets: { secret: "plain-signing-secret" },
  requests: {
    ok: (t) => {
      const id = (prefix) => `${prefix}_01HD44FHDPG82VQ4QNHDR4N2T0`;
      const by = { actorType: "system", system: "email" };
      const body = json({
        timestamp: iso(t),
        workspaceId: id("w"),
        id: id("pEv"),
        type: "customer.customer_deleted",
        payload: {
          eventType: "customer.customer_deleted",
          previousCustomer: { id: id("c"), email: { email: "a@example.com", isVerified: true, verifiedAt: iso(t) }, externalId: null, fullName: "Ada", shortName: null, markedAsSpamAt: null, markedAsSpamBy: null, customerGroupMemberships: [], createdAt: iso(t), createdBy: by, updatedAt: iso(t), updatedBy: by },
        },
        webhookMetadata: { webhookTargetId: id("whTarget"), webhookTargetVersion: "2026-02-27", webhookDeliveryAttemptId: id("whAttempt"), webhookDeliveryAttemptNumber: 1, webhookDeliveryAttemptTimestamp: iso(t) },
      });
      return { body, headers: { "Plain-Workspace-Id": id("w"), "Plain-Event-Type": "customer.customer_deleted", "Plain-Request-Signature": hmac("sha256", "plain-signing-secret", body, "hex") }, tampered: { body: { body: body.replace("Ada", "Adb") } } };
    },
  },
  verify: (r) => verifyPlainWebhook(r.body, r.headers["plain-request-signature"], "plain-signing-secret").error === undefined,
};

const { verifyWebhookSignature } = require("@doist/todoist-sdk");
const todoist = bare(
  "todoist", "@doist/todoist-sdk", "verifyWebhookSignature", "X-Todoist-Hmac-SHA256", "todoist-client-secret",
  json({ event_name: "item:added", user_id: "2671355", version: "10", initiator: { id: "2671355", full_name: "Zoë" }, event_data: { id: "6XR4GqQQCW6Gv9h4", content: "Buy Milk" } }),
  { encoding: "base64", headers: { "X-Todoist-Delivery-ID": "4b0bd36a-4a2e-4b1f-9d6a-0c7e7d7f0001" } },
  (rawBody, signature) => verifyWebhookSignature({ rawBody, signature, clientSecret: "todoist-client-secret" }),
);

const autohook = require("twitter-autohook");
const X = { consumer_secret: "x-consumer-secret" };
const xRequest = (body) => () => ({
  body,
  headers: { "X-Twitter-Webhooks-Signature": `sha256=${hmac("sha256", X.consumer_secret, body, "base64")}` },
});
const x = {
  slug: "x",
  sdk: "twitter-autohook",
  by: "validateSignature, validateWebhook",
  secrets: { secret: X.consumer_secret },
  requests: {
    ok: xRequest(json({ for_user_id: "2244994945", tweet_create_events: [{ id_str: "1777000000000000001", timestamp_ms: "1779999995000", text: "grüß dich", user: { id_str: "6253282" } }] })),
    "direct-message": xRequest(json({ for_user_id: "2244994945", direct_message_events: [{ type: "message_create", id: "1777000000000000002", created_timestamp: "1779999995000" }] })),
  },
  handshakes: {
    crc: {
      url: "https://hooks.example.com/in/x?crc_token=M2YxYzFiYjUtNzA0ZS00NzUyLTk&nonce=MTc3OTk5OTk5NQ",
      response: { status: 200, json: autohook.validateWebhook("M2YxYzFiYjUtNzA0ZS00NzUyLTk", X) },
    },
  },
  verify: (r) => autohook.validateSignature(r.headers, X, r.body),
};

const larkSdk = require("@larksuiteoapi/node-sdk");
const LARK = { secret: "lark-encrypt-key", verification_token: "lark-verification-token" };
// It would say that it is there on standard output, where the vectors go.
const silent = Object.fromEntries(["error", "warn", "info", "debug", "trace"].map((level) => [level, () => {}]));
const larkCheck = new larkSdk.EventDispatcher({ encryptKey: LARK.secret, logger: silent }).requestHandle;
/** The rule of the documentation, as the SDK can only decrypt; what comes out is compared. */
const larkSeal = (text) => {
  const vector = sha256(text).subarray(0, 16);
  const cipher = createCipheriv("aes-256-cbc", sha256(LARK.secret), vector);
  const encrypt = Buffer.concat([vector, cipher.update(text, "utf8"), cipher.final()]).toString("base64");
  if (new larkSdk.AESCipher(LARK.secret).decrypt(encrypt) !== text) throw new Error("the SDK does not decrypt it");
  return json({ encrypt });
};
const larkEvent = json({
  schema: "2.0",
  header: { event_id: "5e3702a84e847582be8db7fb73283c02", event_type: "im.message.receive_v1", create_time: "1779999990000", token: LARK.verification_token, app_id: "cli_9f5343c580712544", tenant_key: "2ca1d211f64f6438" },
  event: { message: { content: "grüß dich" } },
});
const larkChallenge = json({ challenge: "ajls384kdjx98XX", token: LARK.verification_token, type: "url_verification" });
const larkRequest = (body, more) => (t) => ({
  body,
  ...more,
  headers: {
    "X-Lark-Request-Timestamp": String(t),
    "X-Lark-Request-Nonce": "nonce1",
    "X-Lark-Signature": sha256(`${t}nonce1${LARK.secret}${body}`, "hex"),
  },
});
const larkAnswer = (body) => larkSdk.generateChallenge(JSON.parse(body), { encryptKey: LARK.secret }).challenge;
const lark = {
  slug: "lark",
  sdk: "@larksuiteoapi/node-sdk",
  by: "RequestHandle.checkIsEventValidated, AESCipher.decrypt, generateChallenge",
  note: "plain SHA-256 hex of timestamp+nonce+encrypt_key+body, not an HMAC; an encrypted body is opened by the SDK's AESCipher",
  secrets: LARK,
  requests: {
    ok: larkRequest(larkEvent),
    encrypted: larkRequest(larkSeal(larkEvent), { opened: larkEvent }),
  },
  handshakes: {
    challenge: { method: "POST", body: larkChallenge, response: { status: 200, json: larkAnswer(larkChallenge) } },
    "challenge-encrypted": { method: "POST", body: larkSeal(larkChallenge), response: { status: 200, json: larkAnswer(larkSeal(larkChallenge)) } },
  },
  verify: (r) => larkCheck.checkIsEventValidated(Object.assign(Object.create({ headers: r.headers }), JSON.parse(r.body))),
};

const PROVIDERS = [
  hubspot("v3"), meta, hubspot("v1"), hubspot("v2"), sendgrid, square, telnyx, box, plivo, plivoV2, razorpay, viber, smartcarHook, mollie, lithic, imagekit,
  surge, portone, seam, privy, messagebird, contentful, mux, orb, ...vonageSms, saleor, kinde, jiraConnect, mercadoPago, adyenPlatform, lightspark,
  creem, solidgate, cronofy, chargebee, phonepe, signalwire, paytrail, opennode, plain, todoist, x, lark,
];

const version = (name) => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const out = [];
let failed = 0;
for (const provider of PROVIDERS) {
  try {
    out.push(...(await vectors(provider, version(provider.sdk))));
  } catch (error) {
    failed += 1;
    console.error(`failed: ${provider.slug}: ${error.stack}`);
  }
}
process.stdout.write(`${JSON.stringify(out, null, 1)}\n`, () => process.exit(failed > 0 ? 1 : 0));
