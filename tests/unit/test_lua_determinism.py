"""The same call gives the same result, gas and writes everywhere."""

import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from executors.evm import Call
from executors.machine import Result, Status
from schemas.keys import entry_key
from tests.lua_chain import ALICE, BLOCK, BOB, ROOT, Chain, body, evaluate, lua_token, payload
from tests.views import DictView

WORKLOAD = body("""
  local t, out = {}, {}
  for i = 1, 60 do t["k" .. i % 17 .. "v"] = i t[i * 7 % 23] = i if i % 3 == 0 then t[i % 23] = nil end end
  t[9], t.x = nil, {1, nil, 3}
  for k, v in pairs(t) do table.insert(out, tostring(k) .. tostring(v)) state.put("s" .. k, tostring(v)) end
  table.sort(out, function(x, y) return #x < #y end)
  emit("E(string,uint256)", table.concat(out, ","), #t + #t.x)
  local ok, data, why = try_call(this, "g()")
  return table.concat(out) .. tostring(t) .. tostring(ok) .. why .. #t, gas_left()
""", signature="f() returns (string,uint256)")
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tests.unit.test_lua_determinism import WORKLOAD, Chain
chain = Chain()
result = chain.ok(chain.deploy(WORKLOAD), "f()")
print(result.gas_used, result.output.hex(), result.logs, sorted(chain.view.writes.items()))
"""


def test_many_runtimes_agree_to_the_gas() -> None:
    """Each has other addresses and another seed, so that its tables have another order inside. A counter that an
    interruption could spoil would differ here."""
    code = """local t = {} for i = 1, 60 do t["k" .. i % 17 .. "v"] = i t[i * 7 % 23] = i if i % 3 == 0 then t[i % 23] = nil end end
      local n = 0 for i = 1, 30 do for k, v in pairs(t) do n = n + v end state.put_uint("n", n + gas_left()) end"""
    chain = Chain()
    contract = chain.deploy(body(code))
    first = chain.send(contract, "f()")
    chain.state[entry_key(contract, b"n")] = b""
    results = set()
    for _ in range(40):
        result = chain.send(contract, "f()")
        results.add((result.gas_used, chain.state[entry_key(contract, b"n")]))
        chain.state[entry_key(contract, b"n")] = b""
    assert first.status is Status.SUCCESS
    assert len(results) == 1


def test_two_processes_agree_to_the_gas() -> None:
    outputs = set()
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(root=str(ROOT))], env={"PYTHONHASHSEED": seed, "PATH": ""},
            cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.integers(1, 12), st.sampled_from("abcdef")), st.booleans()), max_size=40))
def test_length_and_order_depend_on_the_contents_alone(steps: list[tuple[int | str, bool]]) -> None:
    """A table that came about by detours looks like one with the same entries that was made at once."""
    def literal(key: Any) -> Any:
        return str(key) if isinstance(key, int) else f'"{key}"'
    final: dict[int | str, bool] = {}
    code = "local t = {} "
    for key, there in steps:
        code += f"t[{literal(key)}] = {'1' if there else 'nil'} "
        final[key] = there
    direct = "local t = {} " + "".join(f"t[{literal(key)}] = 1 " for key, there in final.items() if there)
    rest = 'local s = #t .. ":" for k, v in pairs(t) do s = s .. k .. "," end return s'
    assert evaluate(code + rest, "string") == evaluate(direct + rest, "string")


def test_length_of_a_table_with_holes() -> None:
    # Lua says 3 for the first and 1 for the second.
    assert evaluate("local t = {1, nil, 3} local u = {} u[1] = 1 u[3] = 3 return #t == 1 and #u == 1", "bool") is True
    assert evaluate("local t = {} for i = 1, 1000 do t[i] = 1 end local n = #t t[1000] = nil return n * 1000 + #t", "int64") == 1_000_999


def test_gas_is_what_it_was() -> None:
    """A golden number: another one means that transactions of existing logs would cost something else, and that the
    machine needs a new version."""
    chain = Chain()
    token = lua_token(chain)
    chain.ok(token, "transfer(address,uint256)", BOB, 5)
    assert chain.ok(token, "transfer(address,uint256)", BOB, 5).gas_used == 50_219


def test_a_call_estimates_what_a_transaction_costs() -> None:
    chain = Chain()
    token = lua_token(chain)
    data = payload("transfer(address,uint256)", BOB, 5)
    answer = chain.engine.call(Call(sender=ALICE, to=token, data=data, gas_limit=1_000_000), BLOCK, DictView(chain.state))
    assert isinstance(answer, Result)
    assert answer.status is Status.SUCCESS
    assert chain.run(to=token, data=data, gas_limit=answer.gas_used).status is Status.SUCCESS
    assert chain.run(to=token, data=data, gas_limit=answer.gas_used - 1_001).reason == "out of gas"
