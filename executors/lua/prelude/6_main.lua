-- The environment of a contract, and a message to it from beginning to end.

local msg, block = plain({}), plain({})

local environment = {
  string = plain(strings), table = plain(tables), math = plain(numbers), state = plain(state), abi = plain(abi),
  msg = msg, block = block,
  type = kind_of, tostring = shown, tonumber = number_of, pairs = pairs, ipairs = ipairs,
  error = revert, assert = assert, require = require, revert = revert, revert_with = revert_with,
  revert_raw = revert_raw,
  u256 = u256, u256_from_bytes = u256_from_bytes, hex = hex, unhex = unhex,
  emit = emit, log = log, call = call, try_call = try_call, call_raw = call_raw, try_call_raw = try_call_raw,
  send = send, balance = balance, gas_left = gas_left,
  keccak256 = digest("keccak256"), sha256 = digest("sha256"), blake2b256 = digest("blake2b256"),
  verify = verify, recover = recover,
}
setmetatable(environment, {
  __metatable = false,
  __newindex = TABLE.__newindex,
  __index = function(_, name) fail("the name " .. shown(name) .. " isn't defined") end,
})

-- Strings have methods, and no arithmetic.
local of_strings = getmetatable("")
for event in next, of_strings do of_strings[event] = nil end
of_strings.__index, of_strings.__metatable = strings, false

local function load_contract(code)
  local contract = load(code, "=contract", "b", environment)(markers())
  if not is_plain(contract) then fail("the contract returns a " .. kind_of(contract) .. " instead of a table") end
  loading = false
  return contract
end

-- The names of a contract's functions, in the order of their bytes.
local function names_of(code)
  local contract, names, strange = load_contract(code), {}, false
  for key in next, contract do
    if type(key) == "string" then names[#names + 1] = key else strange = true end
  end
  if strange then fail("the contract's table has a key that is no string") end
  if #names > VALUES_MAX // 16 then fail(#names .. " functions, limit " .. VALUES_MAX // 16) end
  native_sort(names)
  for _, name in next, names do
    if type(contract[name]) ~= "function" then
      fail("'" .. name .. "' isn't a function but a " .. kind_of(contract[name]))
    end
  end
  return names
end

local function run(code, key, this, sender, origin, value, data, height, timestamp, prevrandao, ...)
  local contract = load_contract(code)
  environment.this = this
  msg.sender, msg.origin, msg.value, msg.data = sender, origin, number(value), received(data)
  block.number, block.timestamp, block.prevrandao, block.hash = height, timestamp, prevrandao, block_hash
  return marshal(contract[key](unmarshal(...)))
end

local function ended(ok, first, out, count)
  if dead then return "dead", 0, dead end
  if ok then return "result", spent + stepped, first, spread(out, 1, count) end
  if type(first) == "table" then return "reverted", spent + stepped, first.message or false, first.data or false end
  if first == "not enough memory" then return "dead", 0, "memory" end
  return "reverted", spent + stepped, first, false
end

local function listed(ok, names)
  if ok and not dead then return "names", spent + stepped, spread(names) end
  return ended(ok, names)
end

local thread

local function concluded(ok, ...)
  if ok then return ... end
  if dead then return "dead", 0, dead end
  return "broken", 0, (...) == "not enough memory", shown((...))
end

local resume_thread, protected = coroutine.resume, xpcall

local function resume(...) return concluded(resume_thread(thread, ...)) end

local function begin(body, gas, ...)
  limit = gas
  if stepped > limit then return "dead", 0, "gas" end
  thread = coroutine.create(body)
  debug.sethook(thread, hook, "", STEP)
  return resume(...)
end

local function start(gas, ...)
  return begin(function(...) return ended(protected(run, handler, ...)) end, gas, ...)
end

local function list(gas, ...)
  return begin(function(...) return listed(protected(names_of, handler, ...)) end, gas, ...)
end

return start, list, resume
