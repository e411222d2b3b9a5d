// Puts the three lists together, sorted by provider and id: node merge.mjs > vectors-made.json
import { readFileSync } from "node:fs";

const read = (name) => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
const all = ["npm.json", "pypi.json", "published-vectors.json"].flatMap(read);
const ids = new Set(all.map((vector) => vector.id));
if (ids.size !== all.length) throw new Error("two vectors with one id");
all.sort((a, b) => (a.provider < b.provider ? -1 : a.provider > b.provider ? 1 : a.id < b.id ? -1 : 1));
process.stdout.write(JSON.stringify(all, null, 1));
