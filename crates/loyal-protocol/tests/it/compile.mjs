// Compiles Conformance.sol (argument 1) with the solc of this folder; prints contract -> bytecode.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const solc = require("solc");
const source = readFileSync(process.argv[2], "utf8");
const input = {
  language: "Solidity",
  sources: { "Conformance.sol": { content: source } },
  settings: {
    evmVersion: "prague", optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
  },
};
const find = (path) => ({ contents: readFileSync(require.resolve(path), "utf8") });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: find }));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
const contracts = output.contracts["Conformance.sol"];
console.log(JSON.stringify(Object.fromEntries(Object.entries(contracts).map(([name, c]) => [name, c.evm.bytecode.object]))));
