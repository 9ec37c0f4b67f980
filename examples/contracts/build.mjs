// Compiles Token.sol, Pool.sol and Store.sol to artifacts/{Token,Pool,Store}.json.
//
//   node build.mjs                  write the artifacts
//   node build.mjs --check          write nothing; exit status 1 if an artifact would change
//   node build.mjs --out DIRECTORY  write them elsewhere
//
// The same sources and the same compiler give the same bytes: no path, time or metadata hash goes in.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import solc from "solc";

const CONTRACTS = ["Token", "Pool", "Store"];

// 5159 says that selfdestruct is deprecated. Store has one on purpose: engines have to get it right.
const WARNINGS_ALLOWED = new Set(["5159"]);

const SETTINGS = {
  evmVersion: "prague",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none" },
  outputSelection: {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"] },
  },
};

const here = dirname(fileURLToPath(import.meta.url));

function compile() {
  const sources = {};
  for (const name of CONTRACTS) {
    sources[`${name}.sol`] = { content: readFileSync(join(here, `${name}.sol`), "utf8") };
  }
  const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings: SETTINGS })));
  const problems = (output.errors ?? []).filter((problem) => !WARNINGS_ALLOWED.has(problem.errorCode));
  if (problems.length > 0) {
    throw new Error(problems.map((problem) => problem.formattedMessage).join("\n"));
  }
  return output.contracts;
}

// Compiler-internal node numbers are of no use to a reader, and move with every change elsewhere.
function layout(storageLayout) {
  return storageLayout.storage.map(({ label, slot, offset, type }) => ({
    label,
    slot: Number(slot),
    offset,
    type: storageLayout.types[type].label,
    bytes: Number(storageLayout.types[type].numberOfBytes),
  }));
}

function artifact(name, compiled) {
  return {
    contractName: name,
    sourceName: `${name}.sol`,
    compiler: { version: solc.version().replace(".Emscripten.clang", ""), settings: {
      evmVersion: SETTINGS.evmVersion,
      optimizer: SETTINGS.optimizer,
      metadata: SETTINGS.metadata,
    } },
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
    deployedBytecode: `0x${compiled.evm.deployedBytecode.object}`,
    storageLayout: layout(compiled.storageLayout),
  };
}

function main() {
  const { values } = parseArgs({ options: { check: { type: "boolean" }, out: { type: "string" } } });
  const out = values.out ? resolve(values.out) : join(here, "artifacts");
  const compiled = compile();
  let changed = 0;
  for (const name of CONTRACTS) {
    const path = join(out, `${name}.json`);
    const text = `${JSON.stringify(artifact(name, compiled[`${name}.sol`][name]), null, 2)}\n`;
    if (values.check) {
      if (readFileSync(path, "utf8") !== text) {
        console.error(`${name}.json is not what ${name}.sol compiles to`);
        changed += 1;
      }
    } else {
      mkdirSync(out, { recursive: true });
      writeFileSync(path, text);
    }
  }
  return changed === 0 ? 0 : 1;
}

process.exitCode = main();
