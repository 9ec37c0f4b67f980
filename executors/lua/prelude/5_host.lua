-- State, events, other contracts and cryptography.

-- ---- values that cross ---------------------------------------------------------------------------------------------

-- Nothing but strings, integers and booleans goes over; tags say what they were. See `abi`.
local function marshal(...)
  local tags, out, count, size = {}, {}, 0, 0
  local function put(value, depth)
    local kind = kind_of(value)
    pay(4)
    size = size + 1
    if size > VALUES_MAX then fail("more than " .. VALUES_MAX .. " values at once") end
    if kind == "table" and is_plain(value) then
      if depth > 6 then fail("an array of more than 6 dimensions") end
      tags[size] = "["
      for i = 1, length(value) do put(value[i], depth + 1) end
      size = size + 1
      tags[size] = "]"
      return
    end
    if kind == "nil" then
      tags[size] = "n"
      return
    end
    count = count + 1
    if kind == "u256" then tags[size], out[count] = "u", value[BYTES]
    elseif kind == "string" or kind == "boolean" then tags[size], out[count] = slice(kind, 1, 1), value
    elseif kind == "number" then tags[size], out[count] = "i", value
    else fail("a " .. kind .. " can't leave the contract") end
  end
  local given = {...}
  for i = 1, select("#", ...) do put(given[i], 0) end
  allocate(200 + 32 * size)
  return native_concat(tags), out, count
end

local function unmarshal(tags, ...)
  local given, at, stack, depth, list, count = {...}, 0, {}, 0, {}, 0
  allocate(64 + 32 * #tags)
  for i = 1, #tags do
    local tag = slice(tags, i, i)
    if tag == "[" then
      depth = depth + 1
      stack[depth] = {list, count}
      list, count = {}, 0
      allocate(128)
    elseif tag == "]" then
      local inner = plain(list)
      list, count = stack[depth][1], stack[depth][2] + 1
      list[count] = inner
      depth = depth - 1
    else
      at = at + 1
      local value = given[at]
      if tag == "u" then value = number(value) elseif tag == "s" then received(value) end
      count = count + 1
      list[count] = value
    end
  end
  return spread(list, 1, count)
end

-- ---- state ---------------------------------------------------------------------------------------------------------

local state = {}

function state.get(key) return received(hosted("read", text(key, "state.get"))) end

function state.put(key, value) hosted("write", text(key, "state.put"), text(value, "state.put")) end

function state.get_uint(key)
  local bytes = hosted("read", text(key, "state.get_uint"))
  if #bytes > 32 then fail("state.get_uint: a value of " .. #bytes .. " bytes is no number") end
  return number(repeated("\0", 32 - #bytes) .. bytes)
end

function state.put_uint(key, value)
  hosted("write", text(key, "state.put_uint"), (substitute(word(value, "state.put_uint"), "^\0+", "")))
end

function state.add(key, amount) hosted("add", text(key, "state.add"), word(amount, "state.add")) end

-- ---- events and failures -------------------------------------------------------------------------------------------

local function emit(signature, ...)
  local tags, out, count = marshal(...)
  hosted("emit", text(signature, "emit"), tags, spread(out, 1, count))
end

local function log(topics, data)
  table_of(topics, "log")
  local count = length(topics)
  if count > 4 then fail("log: " .. count .. " topics, limit 4") end
  for i = 1, count do
    if #text(topics[i], "log") ~= 32 then fail("log: a topic of " .. #topics[i] .. " bytes instead of 32") end
  end
  hosted("log", text(data, "log"), spread(topics, 1, count))
end

local function revert(message) raise({message = message == nil and "reverted" or shown(message)}, 0) end

local function require(condition, message)
  if not condition then raise({message = message == nil and "a requirement isn't met" or shown(message)}, 0) end
end

local function assert(value, message)
  require(value, message == nil and "assertion failed" or message)
  return value
end

local function revert_with(signature, ...)
  local tags, out, count = marshal(...)
  raise({data = ask("error", text(signature, "revert_with"), tags, spread(out, 1, count))}, 0)
end

local function revert_raw(data) raise({data = text(data, "revert_raw")}, 0) end

-- ---- other contracts -----------------------------------------------------------------------------------------------

-- What is called: a signature, or a table of it with `value` and `gas`.
local function options(given, what)
  if given == nil then return "", -1 end
  table_of(given, what)
  local value, gas = given.value, given.gas
  if gas ~= nil then
    gas = integer(gas, what)
    if gas < 0 then fail(what .. ": gas below 0") end
  end
  return value == nil and "" or word(value, what), gas or -1
end

local function invoke(what, address, target, ...)
  local signature, given = target, nil
  if is_plain(target) then signature, given = target[1], target end
  local value, gas = options(given, what)
  local tags, out, count = marshal(...)
  return hosted(what, text(address, what), text(signature, what), value, gas, tags, spread(out, 1, count))
end

local function outcome(ok, first, ...)
  if ok then return true, unmarshal(first, ...) end
  return false, received(first), received((...))
end

local function call(...) return unmarshal(invoke("call", ...)) end

local function try_call(...) return outcome(invoke("try_call", ...)) end

local function call_raw(address, data, given)
  local value, gas = options(given, "call_raw")
  return received(hosted("call_raw", text(address, "call_raw"), text(data, "call_raw"), value, gas))
end

local function try_call_raw(address, data, given)
  local value, gas = options(given, "try_call_raw")
  local ok, output = hosted("try_call_raw", text(address, "try_call_raw"), text(data, "try_call_raw"), value, gas)
  return ok, received(output)
end

local function send(address, amount)
  hosted("call_raw", text(address, "send"), "", word(amount, "send"), -1)
end

local function balance(address) return number(hosted("balance", text(address, "balance"))) end

local function gas_left()
  hosted("gas")
  return left
end

-- ---- cryptography and encoding -------------------------------------------------------------------------------------

local function digest(algorithm)
  return function(data) return received(hosted("digest", algorithm, text(data, algorithm))) end
end

local function verify(scheme, message, signature, key)
  return hosted("verify", text(scheme, "verify"), text(message, "verify"), text(signature, "verify"), text(key, "verify"))
end

local function recover(hash, signature)
  local address = hosted("recover", text(hash, "recover"), text(signature, "recover"))
  return address and received(address)
end

local abi = {}

function abi.encode(types, ...)
  local tags, out, count = marshal(...)
  return received(ask("encode", text(types, "abi.encode"), tags, spread(out, 1, count)))
end

function abi.decode(types, data)
  return unmarshal(ask("decode", text(types, "abi.decode"), text(data, "abi.decode")))
end

local function block_hash(number_)
  return received(hosted("block_hash", integer(number_, "block.hash")))
end
