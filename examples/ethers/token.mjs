// Deploys the example token with ethers, pays with it, reads the balance and the log: node token.mjs [RPC URL]
import { readFileSync } from "node:fs";
import { ContractFactory, HDNodeWallet, JsonRpcProvider, Wallet, parseUnits } from "ethers";

const url = process.argv[2] ?? "http://127.0.0.1:8545";
const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 100 });
// The first and the second development account of the built-in genesis.
const phrase = "test test test test test test test test test test test junk";
const path = (index) => `m/44'/60'/0'/0/${index}`;
const owner = new Wallet(HDNodeWallet.fromPhrase(phrase, undefined, path(0)).privateKey, provider);
const payee = HDNodeWallet.fromPhrase(phrase, undefined, path(1)).address;

const artifact = JSON.parse(
  readFileSync(new URL("../contracts/artifacts/Token.json", import.meta.url), "utf8"),
);
const factory = new ContractFactory(artifact.abi, artifact.bytecode, owner);
const token = await factory.deploy("Example", "EXM", 18, parseUnits("1000", 18));
await token.waitForDeployment();
console.log("token", await token.getAddress());

const sent = await token.transfer(payee, parseUnits("25", 18));
const receipt = await sent.wait();
console.log("transfer", receipt.status, "block", receipt.blockNumber);
console.log("balance", (await token.balanceOf(payee)).toString());
const [log] = await token.queryFilter(token.filters.Transfer(owner.address, payee));
console.log("log", log.args.value.toString());

try {
  await token.connect(provider).transfer.staticCall(payee, 1n, { from: token.target });
} catch (error) {
  console.log("revert", error.reason);
}
provider.destroy();
