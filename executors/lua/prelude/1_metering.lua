-- What a contract uses up, how it fails, and how it asks for what only its host has.
--
-- The files of this folder are one chunk, in the order of their names. A contract reaches nothing of it but what
-- 6_main.lua puts into its environment. Nothing here is called from outside of a contract's coroutine, except `start`
-- and `resume`.

local STEP, MEMORY_MAX, STRING_MAX, DEPTH_MAX, VALUES_MAX, BYTES_PER_GAS = ...

local type, next, tostring, tonumber, rawequal, rawset = type, next, tostring, tonumber, rawequal, rawset
local getmetatable, setmetatable, raise, select = getmetatable, setmetatable, error, select
local integer_of, unsigned_less = math.tointeger, math.ult
local bytes_of, char_of, find, format, substitute = string.byte, string.char, string.find, string.format, string.gsub
local match, pack, repeated, slice, unpack_bytes = string.match, string.pack, string.rep, string.sub, string.unpack
local reversed, native_concat, native_sort, spread = string.reverse, table.concat, table.sort, table.unpack
local getinfo, yield, collect = debug.getinfo, coroutine.yield, collectgarbage

-- Most messages are over before there is anything to collect; see `hook`. What is collected shows nowhere.
collect("stop")
local GARBAGE_MIN = 1 << 20

-- `<` of strings follows the locale of the process. Every result rests on this one.
if not ("Z" < "a" and "a" < "\xc3" and "a\0b" < "a\0c") then
  raise("the process has a collation other than that of the locale C")
end

-- ---- gas and memory ------------------------------------------------------------------------------------------------

-- Gas since the message began, in two parts, each of which is written in one place: a hook that added to `spent`, too,
-- would be forgotten where it comes between the reading and the writing of an addition. The first step is paid in
-- advance, as every one is.
local spent, stepped = 0, STEP
local limit, left = 0, 0 -- where it ends; what the host had when it was last asked
local memory, inserts = 0, 0 -- bytes allocated, garbage included; entries put into tables
local dead -- the limit that ended the message
local DEAD = {}

local function die(what)
  dead = dead or what
  raise(DEAD, 0)
end

local function pay(gas)
  spent = spent + gas
  if spent + stepped > limit then die("gas") end
end

-- Sizes: a string 40 and its length, a number of 256 bits 128, a table 64 and 32 for each field of its constructor, an
-- entry put into it later 64, a function 256 and 48 for each variable that it shares. They are no less than what Lua
-- takes, growth of hash parts included.
local function allocate(bytes)
  memory = memory + bytes
  if memory > MEMORY_MAX then die("memory") end
  spent = spent + bytes // BYTES_PER_GAS
  if spent + stepped > limit then die("gas") end
end

local function hook()
  stepped = stepped + STEP
  if spent + stepped > limit then die("gas") end
  if getinfo(DEPTH_MAX, "l") then die("depth") end
  if memory > GARBAGE_MIN and collect then
    collect("restart")
    collect = nil
  end
end

-- ---- errors --------------------------------------------------------------------------------------------------------

-- The line of the contract that runs.
local function place()
  for level = 3, DEPTH_MAX do
    local info = getinfo(level, "Sl")
    if not info then return "" end
    if info.source == "=contract" and info.currentline > 0 then
      return "contract:" .. info.currentline .. ": "
    end
  end
  return ""
end

-- An error in what the contract does, with its line.
local function fail(message)
  raise({message = place() .. message}, 0)
end

-- Of an error on its way out. Those of Lua name the line where they arose, which may be one of these files.
local function handler(problem)
  if dead then return DEAD end
  if type(problem) ~= "string" then return problem end
  if find(problem, "^[%w?]+:%-?%d+: stack overflow") or find(problem, "C stack overflow", 1, true) then
    dead = "depth"
  elseif find(problem, "^%?:%-?%d+: ") then -- these files are loaded without their lines
    problem = place() .. substitute(problem, "^%?:%-?%d+: ", "")
  end
  return problem
end

-- ---- the host ------------------------------------------------------------------------------------------------------

local loading = true

local function answered(used, gas, ok, ...)
  limit, left = used + gas, gas
  if ok then return ... end
  fail((...))
end

-- The coroutine of the contract waits until the host has done something. If the host can't go on, it never comes back,
-- so that there is nothing that a contract could catch.
local function ask(what, ...)
  local used = spent + stepped
  return answered(used, yield(what, used, ...))
end

local function hosted(what, ...)
  if loading then fail("the host can't be asked while the contract is being loaded") end
  return ask(what, ...)
end

local function received(text)
  allocate(#text + 40)
  return text
end

-- ---- tables --------------------------------------------------------------------------------------------------------

local TABLE = {__metatable = false}
local kind_of -- in 2_numbers.lua

-- Lua moves a whole table when a new key finds no room. How often that happens depends on addresses; what it can cost
-- depends on the entries that there are.
function TABLE.__newindex(t, key, value)
  if value == nil then return end
  local kind = type(key)
  if kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
    fail("a " .. kind_of(key) .. " can't be a key")
  end
  inserts = inserts + 1
  spent = spent + 4 + inserts // 32
  allocate(64)
  rawset(t, key, value)
end

local function plain(t) return setmetatable(t, TABLE) end

local function is_plain(t) return type(t) == "table" and getmetatable(t) == false end

-- The border that a search by doubling and halving finds. Lua's own one depends on how the table grew.
local function length(t)
  if t[1] == nil then return 0 end
  local low, high = 1, 2
  while t[high] ~= nil do low, high = high, high * 2 end
  while high - low > 1 do
    local middle = (low + high) // 2
    if t[middle] == nil then high = middle else low = middle end
  end
  return low
end
