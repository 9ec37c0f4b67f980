"""The transactions of `gold.json`: what contracts do and what can go wrong, signed with known keys."""

from typing import Any

from eth_utils.crypto import keccak

from tests.conformance.eels.script import GAS_LIMIT, Case, Contracts, Script, deploy, pool, store, token
from tests.conformance.eels.wallet import Wallet, call_data, create_address, init_code

ETHER = 10**18
GWEI = 10**9
UNLIMITED = 2**256 - 1

PAYEE = bytes.fromhex("c0ffee" + "00" * 16 + "01")
"""Fee recipient of the first case; nobody has its key."""
FRESH = bytes.fromhex("f4e50000000000000000000000000000000000")
"""First 19 bytes of addresses that don't exist before."""


def fresh(index: int) -> bytes:
    """An address that nobody has used."""
    return FRESH + bytes([index])


def contracts_case() -> Case:
    """Everything at base fee 0: most at gas price 0, some with a fee that goes to the fee recipient."""
    wallets = [Wallet(index) for index in range(10)]
    # The ninth has no ether and the tenth doesn't exist: they can still send at gas price 0.
    script = Script("contracts", coinbase=PAYEE, base_fee=0, alloc={
        **{wallet.address: 1_000 * ETHER for wallet in wallets[:8]}, PAYEE: 3 * ETHER,
    })  # fmt: skip
    script.block()
    there = deploy(script, wallets[0])
    script.block()
    supply(script, wallets, there)
    script.block()
    transfers(script, wallets, there)
    script.block()
    swaps(script, wallets, there)
    script.block()
    failures(script, wallets, there)
    script.block()
    rejections(script, wallets)
    script.block()
    storing(script, wallets, there)
    script.block()
    creating(script, wallets, there)
    script.block()
    values(script, wallets)
    script.block()
    delegations(script, wallets, there)
    script.block()
    paying(script, wallets, there)
    return script.case()


def supply(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Mint tokens for all, approve the pool, and add the first liquidity."""
    owner = wallets[0]
    for index, wallet in enumerate(wallets[1:], start=1):
        script.add(f"mint for {index}", token(owner, there.first, "mint", wallet.address, 10_000 * ETHER))
    for index, wallet in enumerate(wallets[1:5], start=1):
        script.add(f"second token for {index}", token(owner, there.second, "transfer", wallet.address, 10**12))
    for index, wallet in enumerate(wallets[:5]):
        for address in (there.first, there.second):
            amount = UNLIMITED if index % 2 == 0 else 10**30
            script.add(f"approve the pool by {index}", token(wallet, address, "approve", there.pool, amount))
    # Which token is the pool's first depends on their addresses.
    amounts = (10_000 * ETHER, 10**11) if there.first < there.second else (10**11, 10_000 * ETHER)
    script.add("first liquidity", pool(owner, there.pool, "addLiquidity", *amounts, 1, owner.address))
    odd = (333 * ETHER + 7, 10**10 + 3) if there.first < there.second else (10**10 + 3, 333 * ETHER + 7)
    script.add("more liquidity", pool(wallets[2], there.pool, "addLiquidity", *odd, 0, wallets[3].address, kind=2))


def transfers(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Twenty-four transfers by transactions of three types."""
    for step in range(20):
        sender, receiver = wallets[step % 9], wallets[(step * 7 + 3) % 10]
        access = [(there.first, [step])] if step % 3 == 1 else ()
        raw = token(
            sender, there.first, "transfer", receiver.address, (step + 1) * ETHER // 7, kind=step % 3, access=access
        )
        script.add(f"transfer {step}", raw)
    script.add("transfer to oneself", token(wallets[4], there.first, "transfer", wallets[4].address, 5))
    script.add("transfer of nothing", token(wallets[4], there.first, "transfer", fresh(1), 0))
    script.add("transfer of all", token(wallets[4], there.second, "transfer", fresh(2), 10**12))
    script.add("burn", token(wallets[5], there.first, "burn", 123))
    script.add("allow another", token(wallets[5], there.first, "approve", wallets[6].address, 1_000))
    holder, spender = wallets[5].address, wallets[6]
    script.add("transferFrom", token(spender, there.first, "transferFrom", holder, fresh(3), 400))
    script.add("transferFrom the rest", token(spender, there.first, "transferFrom", holder, fresh(3), 600))


def swaps(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Twenty swaps to and fro, two that fail, and liquidity taken out."""
    for step in range(20):
        trader = wallets[step % 4]
        sold, amount = (there.first, (step + 1) * ETHER) if step % 3 else (there.second, (step + 1) * 10**7)
        raw = pool(trader, there.pool, "swap", sold, amount, 1, trader.address, kind=step % 3)
        script.add(f"swap {step}", raw)
    one, three = wallets[1], wallets[3]
    script.add("swap with too high a minimum", pool(one, there.pool, "swap", there.first, 1, UNLIMITED, one.address))
    script.add("swap of an unknown token", pool(one, there.pool, "swap", there.store, 5, 0, fresh(4)))
    script.add("swap without approval", pool(wallets[6], there.pool, "swap", there.first, ETHER, 0, fresh(4)))
    # A token that calls back: it asks its caller for liquidity and passes the failure on.
    rogue = create_address(one.address, one.nonce)
    script.add("deploy a token that calls back", one.transaction(None, calling_back(there)))
    market = create_address(one.address, one.nonce)
    data = init_code("Pool", rogue, there.first)
    script.add("deploy a pool for it", one.transaction(None, data, gas=2_000_000))
    script.add("approve that pool", token(one, there.first, "approve", market, UNLIMITED))
    script.add("reentered", pool(one, market, "addLiquidity", ETHER, ETHER, 0, fresh(4)))
    script.add("remove liquidity", pool(three, there.pool, "removeLiquidity", 10**15 + 1, 0, 0, fresh(5)))
    script.add("remove more than held", pool(three, there.pool, "removeLiquidity", 10**30, 0, 0, fresh(5)))


def calling_back(there: Contracts) -> bytes:
    """Init code of a contract that answers any call by `addLiquidity` of its caller, and passes its failure on."""
    data = call_data("Pool", "addLiquidity", 1, 1, 0, there.store)
    size, length = f"60{len(data):02x}", 34
    runtime = bytes.fromhex(
        f"{size} 60{length:02x} 5f 39"  # copy the call data, which lies behind the code, to memory
        f"5f 5f {size} 5f 5f 33 5a f1"  # call the caller with it, and with all gas
        "3d 5f 5f 3e 60 19 57 3d 5f fd"  # copy what it returned; revert with that unless it succeeded
        "5b 60 01 5f 52 60 20 5f f3"  # return true
    )
    code = runtime + data
    return bytes.fromhex(f"60{len(code):02x} 80 60 09 5f 39 5f f3") + code


def failures(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Transactions that are included and fail."""
    sender = wallets[5]
    script.add("revert: balance", token(sender, there.first, "transfer", fresh(1), 10**30))
    script.add("revert: allowance", token(sender, there.first, "transferFrom", wallets[0].address, fresh(1), 1, kind=2))
    script.add("revert: zero address", token(sender, there.first, "transfer", bytes(20), 1))
    script.add("custom error: not the owner", token(sender, there.first, "mint", sender.address, 1))
    script.add("panic: the supply overflows", token(wallets[0], there.first, "mint", sender.address, UNLIMITED))
    script.add("no such function", sender.transaction(there.first, b"\xde\xad\xbe\xef"))
    script.add("ether for a function that takes none", token(sender, there.first, "transfer", fresh(1), 1, value=1))
    script.add("out of gas in a transfer", token(sender, there.first, "transfer", fresh(6), 1, gas=30_000))
    raw = pool(wallets[1], there.pool, "swap", there.first, ETHER, 0, fresh(6), gas=60_000)
    script.add("out of gas in a swap", raw)
    script.add("out of gas in a loop", store(sender, there.store, "burn", 10**9, gas=200_000))
    script.add("out of gas in a deployment", sender.transaction(None, init_code("Store"), gas=900_000))
    data = init_code("Pool", there.first, there.first)
    script.add("deployment reverts", sender.transaction(None, data, gas=2_000_000))
    script.add("deployed code starts with 0xef", sender.transaction(None, bytes.fromhex("60ef60005360016000f3")))
    script.add("revert with a reason", store(sender, there.store, "fail", "as you wish: ä€😀"))
    script.add("revert with a custom error", store(sender, there.store, "failCustom", 42))
    script.add("revert without data", store(sender, there.store, "failBare"))
    script.add("panic: division by zero", store(sender, there.store, "divide", 1, 0))
    script.add("invalid instruction", store(sender, there.store, "halt", gas=100_000))
    script.add("write, log and revert", store(sender, there.store, "setAndFail", 1, 1))


def rejections(script: Script, wallets: list[Wallet]) -> None:
    """Transactions that are never included."""
    sender, to = wallets[6], fresh(7)

    def rejected(why: str, *content: Any, **fields: Any) -> None:
        # A field that is named as it is to be signed leaves the wallet's nonce alone.
        raw = sender.transaction(*(content or (to,)), **{"nonce": sender.nonce, **fields})
        script.add(f"rejected: {why}", raw)

    rejected("nonce used", nonce=sender.nonce - 1)
    rejected("nonce ahead", nonce=sender.nonce + 1, kind=2)
    rejected("value above balance", value=2_000 * ETHER)
    rejected("fee above balance", price=ETHER)
    rejected("gas below intrinsic", gas=20_999)
    rejected("gas below the calldata floor", to, b"\1" * 100, gas=23_000)
    rejected("gas above the limit", gas=GAS_LIMIT + 1)
    rejected("tip above the fee", kind=2, price=1, tip=2)
    rejected("init code too large", None, bytes(49_153), gas=GAS_LIMIT)
    rejected("another chain, type 0", chainId=1)
    rejected("another chain, type 1", kind=1, chainId=1)
    rejected("another chain, type 2", kind=2, chainId=1)
    script.add("right after all those", sender.transaction(to, kind=2))


def storing(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Counters, values, refunds, logs, and calls of the store to itself."""
    for step in range(4):
        script.add(f"increment {step}", store(wallets[step % 3], there.store, "increment", kind=step % 3))
    one, two = wallets[1], wallets[2]
    script.add("increment of one's own", store(one, there.store, "incrementOwn"))
    script.add("set many", store(one, there.store, "setMany", 100, 8, 5))
    script.add("clear many, with a refund", store(two, there.store, "setMany", 100, 8, 0))
    script.add("set", store(one, there.store, "set", 1, 2))
    script.add("set again", store(one, there.store, "set", 2, 3, kind=1, access=[(there.store, [0])]))
    script.add("set to what it is", store(one, there.store, "set", 2, 3))
    script.add("follow and add", store(two, there.store, "followAndAdd", 1, 2))
    script.add("move", store(two, there.store, "move", 2, 77))
    script.add("short note", store(two, there.store, "setNote", "thirty-one bytes fit in one slot"[:31]))
    script.add("long note", store(two, there.store, "setNote", "a note that needs several slots of storage " * 3))
    script.add("short note again, with refunds", store(two, there.store, "setNote", "short"))
    script.add("logs", store(one, there.store, "ping", 3, b"\0\1\2" * 30))
    script.add("a log without topics", store(one, there.store, "ping", 0, b""))
    script.add("call itself", store(one, there.store, "callSelf", call_data("Store", "increment")))
    inner = call_data("Store", "setAndFail", 9, 9)
    script.add("call itself and fail", store(one, there.store, "callSelf", inner))
    script.add("call itself and go on", store(one, there.store, "tryCallSelf", inner))
    inner = call_data("Store", "tryCallSelf", call_data("Store", "halt"))
    script.add("a halt two calls down", store(one, there.store, "tryCallSelf", inner, gas=300_000))
    script.add("nest", store(two, there.store, "nest", 12))
    script.add("nest beyond the gas", store(two, there.store, "nest", 300, gas=300_000))


def creating(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Child contracts, ether through contracts, and what a contract sees."""
    one, two = wallets[3], wallets[4]
    script.add("create", store(one, there.store, "create", 11))
    script.add("create with ether", store(one, there.store, "create", 12, value=100))
    script.add("create that fails", store(one, there.store, "create", UNLIMITED))
    salt = keccak(text="salt")
    script.add("create2", store(two, there.store, "create2", salt, 13, kind=2))
    script.add("create2 at the same address", store(two, there.store, "create2", salt, 13))
    script.add("create and destroy", store(two, there.store, "createAndDestroy", 14, fresh(8), value=55))
    script.add("create and destroy for itself", store(two, there.store, "createAndDestroy", 15, there.store))
    script.add("set a child", store(one, there.store, "setChild", 0, 0))
    script.add("no such child", store(one, there.store, "setChild", 99, 0))
    script.add("destroy an older child", store(one, there.store, "destroyChild", 1, fresh(9)))
    script.add("put ether in", one.transaction(there.store, value=1_000))
    script.add("take ether out to a new account", store(one, there.store, "withdraw", fresh(10), 300))
    script.add("take ether out to a contract", store(one, there.store, "withdraw", there.store, 100))
    script.add("payment refused", store(one, there.store, "withdraw", there.pool, 100))
    script.add("take out more than put in", store(one, there.store, "withdraw", fresh(10), 10_000))
    script.add("see the block", store(two, there.store, "see", kind=2))
    for number in (0, 1, 7, 8, 500):
        script.add(f"see the hash of block {number}", store(two, there.store, "seeBlockHash", number))
    script.add("see a contract's code", store(two, there.store, "seeCode", there.first))
    script.add("see the code of nobody", store(two, there.store, "seeCode", fresh(90)))
    script.add("see an account's code", store(two, there.store, "seeCode", one.address))


def values(script: Script, wallets: list[Wallet]) -> None:
    """Ether from account to account."""
    rich, poor, nobody = wallets[7], wallets[8], wallets[9]
    script.add("ether to a new account", rich.transaction(fresh(11), value=ETHER))
    script.add("ether by type 1", rich.transaction(poor.address, value=2 * ETHER, kind=1))
    script.add("ether by type 2", rich.transaction(poor.address, value=3, kind=2))
    script.add("ether to oneself", rich.transaction(rich.address, value=ETHER))
    script.add("ether to the fee recipient", rich.transaction(PAYEE, value=1))
    script.add("ether to a precompile", rich.transaction(bytes(19) + b"\4", b"copied", value=2))
    script.add("a precompile that fails", rich.transaction(bytes(19) + b"\x09", b"too short", value=2, gas=60_000))
    script.add("nothing to nobody", rich.transaction(fresh(12)))
    script.add("data for an account without code", rich.transaction(fresh(11), bytes(range(64))))
    script.add("all of an account", poor.transaction(fresh(13), value=2 * ETHER + 3))
    script.add("a sender that doesn't exist", nobody.transaction(fresh(14)))
    script.add("ether for a new contract without code", rich.transaction(None, value=9))


def delegations(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Set-code transactions: accounts that run the code of a contract."""
    sponsor, one, two, nobody = wallets[7], wallets[5], wallets[6], Wallet(10)

    def set_code(label: str, to: bytes, *authorizations: Any, data: bytes = b"", sender: Wallet = sponsor) -> None:
        script.add(label, sender.transaction(to, data, kind=4, authorizations=authorizations))

    increment = call_data("Store", "increment")
    set_code("delegate to the store and call", one.address, one.authorize(there.store), data=increment)
    script.add("call the delegation", store(two, one.address, "increment"))
    script.add("call it with ether", two.transaction(one.address, value=8))
    script.add("see the code of a delegation", store(two, there.store, "seeCode", one.address))
    script.add("a delegated account sends", one.transaction(fresh(15), value=1))
    script.add("a delegated account calls itself", store(one, one.address, "set", 5, 6))
    set_code("an account that doesn't exist", nobody.address, nobody.authorize(there.store, chain_id=0), data=increment)
    script.add("a failing call of a delegation", store(two, nobody.address, "fail", "in my own name"))
    set_code("wrong nonce: skipped", fresh(16), two.authorize(there.store, nonce=two.nonce + 1))
    set_code("another chain: skipped", fresh(16), two.authorize(there.store, nonce=two.nonce, chain_id=1))
    script.add("a delegation calls itself", store(two, one.address, "tryCallSelf", increment))
    script.add("a contract pays a delegation", store(wallets[3], there.store, "withdraw", one.address, 10))
    set_code("delegate while calling another", there.store, two.authorize(there.first), data=increment)
    twice = (two.authorize(there.store), two.authorize(there.pool))
    set_code("two by the same: the last counts", two.address, *twice, data=call_data("Pool", "reserves"))
    two.nonce += 1  # its own transaction counts before its authorization
    own = two.authorize(there.store)
    two.nonce -= 2
    set_code("by the sender itself", two.address, own, data=increment, sender=two)
    two.nonce += 1
    set_code("a call that fails keeps the delegation", nobody.address, nobody.authorize(there.first), data=increment)
    set_code("clear a delegation", one.address, one.authorize(bytes(20)))
    script.add("call what was cleared", store(sponsor, one.address, "increment"))
    set_code("delegate to a precompile", one.address, one.authorize(bytes(19) + b"\2"), data=b"abc")
    set_code("clear nothing", wallets[9].address, wallets[9].authorize(bytes(20)))
    set_code("delegate to a delegation", one.address, one.authorize(two.address), data=increment)


def paying(script: Script, wallets: list[Wallet], there: Contracts) -> None:
    """Transactions with a fee, and a contract that sees what the fee recipient got."""
    one, two = wallets[1], wallets[2]
    see = ("seeBalance", PAYEE)
    script.add("before", store(one, there.store, *see))
    script.add("a fee by type 0", one.transaction(fresh(17), value=1, price=3 * GWEI))
    script.add("after type 0", store(one, there.store, *see))
    transfer = (there.first, "transfer", fresh(17), 1)
    script.add("a fee by type 1", token(two, *transfer, kind=1, price=GWEI, access=[(fresh(1), [])]))
    script.add("a fee by type 2", token(two, *transfer, kind=2, price=5 * GWEI, tip=GWEI))
    script.add("after type 2, paying itself", store(one, there.store, *see, price=7))
    script.add("a fee for a failure", store(one, there.store, "fail", "it costs", price=GWEI))
    script.add("a fee for all gas", store(one, there.store, "halt", price=GWEI, gas=70_000))
    script.add("a fee with a refund", store(one, there.store, "set", 77, 0, price=GWEI))
    script.add("at the end", store(one, there.store, *see))
    script.add("the price that a contract sees", store(two, there.store, "see", kind=2, price=9 * GWEI, tip=2 * GWEI))


def fees_case() -> Case:
    """Base fee 7 gwei, and a fee recipient that sends transactions itself."""
    base = 7 * GWEI
    wallets = [Wallet(index) for index in range(4)]
    payee = wallets[3]
    # Just enough for one transfer at the base fee, with one wei left.
    script = Script("fees", coinbase=payee.address, base_fee=base, alloc={
        wallets[0].address: 100 * ETHER, wallets[1].address: 100 * ETHER, wallets[2].address: 21_000 * base + 1,
        payee.address: ETHER,
    })  # fmt: skip
    script.block()
    shop = create_address(wallets[0].address, 0)
    script.add("deploy the store", wallets[0].transaction(None, init_code("Store"), gas=3_000_000, price=base + 1))
    script.block()
    one, poor = wallets[1], wallets[2]
    script.add("the base fee is burned", one.transaction(fresh(1), value=1, price=base))
    script.add("tip below what is left", one.transaction(fresh(1), kind=2, price=base + 5, tip=2))
    script.add("tip cut to what is left", one.transaction(fresh(1), kind=2, price=base + 5, tip=base + 5))
    script.add("see it", store(one, shop, "see", kind=2, price=10 * base, tip=3))
    script.add("see the fee recipient", store(one, shop, "seeBalance", payee.address, kind=1, price=base + 9))
    script.add("the fee recipient sends", payee.transaction(fresh(2), value=5, price=base + 11))
    script.add("to the fee recipient", one.transaction(payee.address, value=5, price=base + 13))
    script.add("a failure pays", store(one, shop, "failBare", kind=2, price=2 * base, tip=1))
    to = fresh(3)
    script.add("rejected: below the base fee", one.transaction(to, price=base - 1, nonce=one.nonce))
    script.add("rejected: at price 0", one.transaction(to, kind=2, price=0, nonce=one.nonce))
    script.add("rejected: tip above the fee", one.transaction(to, kind=2, price=base, tip=base + 1, nonce=one.nonce))
    raw = poor.transaction(to, gas=21_000, value=2, price=base, nonce=poor.nonce)
    script.add("rejected: one wei too little", raw)
    script.add("an account is emptied", poor.transaction(to, gas=21_000, value=1, price=base))
    script.add("the fee recipient delegates", one.transaction(
        payee.address, call_data("Store", "seeBalance", payee.address), kind=4, price=base + 17, tip=17,
        authorizations=[payee.authorize(shop)],
    ))  # fmt: skip
    script.block()
    raw = store(payee, payee.address, "seeBalance", payee.address, price=base + 19)
    script.add("the fee recipient pays itself", raw)
    script.add("the fee recipient gets ether by a contract", one.transaction(payee.address, value=3, price=base + 23))
    return script.case()


def cases() -> tuple[Case, ...]:
    """All cases; the same bytes in every run, because signatures are deterministic."""
    return contracts_case(), fees_case()
