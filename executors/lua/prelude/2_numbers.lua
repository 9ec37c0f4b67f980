-- Numbers of 256 bits, and integers that don't wrap.

local NUMBER = {__metatable = "u256"} -- of all numbers of 256 bits
local BYTES = {} -- the key under which such a number has its 32 bytes, big-endian; contracts can't name it
local ZEROS = repeated("\0", 24)

local function number(bytes)
  allocate(128)
  return setmetatable({[BYTES] = bytes}, NUMBER)
end

local function is_number(value) return type(value) == "table" and getmetatable(value) == "u256" end

function kind_of(value) return is_number(value) and "u256" or type(value) end

-- The 32 bytes of an integer >= 0 or a number of 256 bits.
local function word(value, what)
  if type(value) == "number" then
    if value < 0 then fail(what .. ": " .. value .. " is below 0") end
    return ZEROS .. pack(">i8", value)
  end
  if not is_number(value) then fail(what .. ": a " .. kind_of(value) .. " where a number is expected") end
  return value[BYTES]
end

-- An integer, out of a number of 256 bits, too.
local function integer(value, what)
  if type(value) == "number" then return value end
  if not is_number(value) then fail(what .. ": a " .. kind_of(value) .. " where an integer is expected") end
  local bytes = value[BYTES]
  if slice(bytes, 1, 24) ~= ZEROS or bytes_of(bytes, 25) > 127 then fail(what .. ": a number above 2**63 - 1") end
  return (unpack_bytes(">i8", bytes, 25))
end

local function text(value, what)
  if type(value) ~= "string" then fail(what .. ": a " .. kind_of(value) .. " where a string is expected") end
  return value
end

local function compare_words(a, b)
  if a == b then return 0 end
  local a1, a2, a3, a4 = unpack_bytes(">i8i8i8i8", a)
  local b1, b2, b3, b4 = unpack_bytes(">i8i8i8i8", b)
  if a1 ~= b1 then return unsigned_less(a1, b1) and -1 or 1 end
  if a2 ~= b2 then return unsigned_less(a2, b2) and -1 or 1 end
  if a3 ~= b3 then return unsigned_less(a3, b3) and -1 or 1 end
  return unsigned_less(a4, b4) and -1 or 1
end

local function add_words(a, b)
  local a1, a2, a3, a4 = unpack_bytes(">i8i8i8i8", a)
  local b1, b2, b3, b4 = unpack_bytes(">i8i8i8i8", b)
  local carry
  a4 = a4 + b4
  carry = unsigned_less(a4, b4) and 1 or 0
  a3 = a3 + carry
  carry = unsigned_less(a3, carry) and 1 or 0
  a3 = a3 + b3
  if unsigned_less(a3, b3) then carry = 1 end
  a2 = a2 + carry
  carry = unsigned_less(a2, carry) and 1 or 0
  a2 = a2 + b2
  if unsigned_less(a2, b2) then carry = 1 end
  a1 = a1 + carry
  carry = unsigned_less(a1, carry) and 1 or 0
  a1 = a1 + b1
  if carry == 1 or unsigned_less(a1, b1) then fail("arithmetic overflow: a sum above 2**256 - 1") end
  return pack(">i8i8i8i8", a1, a2, a3, a4)
end

local function subtract_words(a, b)
  if compare_words(a, b) < 0 then fail("arithmetic underflow: a difference below 0") end
  local a1, a2, a3, a4 = unpack_bytes(">i8i8i8i8", a)
  local b1, b2, b3, b4 = unpack_bytes(">i8i8i8i8", b)
  local borrow = unsigned_less(a4, b4) and 1 or 0
  a4 = a4 - b4
  local next_borrow = (unsigned_less(a3, b3) or (borrow == 1 and a3 == b3)) and 1 or 0
  a3 = a3 - b3 - borrow
  borrow = (unsigned_less(a2, b2) or (next_borrow == 1 and a2 == b2)) and 1 or 0
  a2 = a2 - b2 - next_borrow
  a1 = a1 - b1 - borrow
  return pack(">i8i8i8i8", a1, a2, a3, a4)
end

local function of_host(what, a, b, c) return number(ask("arithmetic", what, a, b, c)) end

NUMBER.__newindex = function() fail("a u256 can't be changed") end
NUMBER.__eq = function(a, b) return a[BYTES] == b[BYTES] end
NUMBER.__idiv = function(a, b) return of_host("//", word(a, "//"), word(b, "//"), "") end
NUMBER.__mod = function(a, b) return of_host("%", word(a, "%"), word(b, "%"), "") end
NUMBER.__index = {
  int = function(n) return integer(n, "int") end,
  bytes = function(n) return received(word(n, "bytes")) end,
  pow = function(n, exponent) return of_host("pow", word(n, "pow"), word(exponent, "pow"), "") end,
  muldiv = function(n, factor, divisor)
    return of_host("muldiv", word(n, "muldiv"), word(factor, "muldiv"), word(divisor, "muldiv"))
  end,
}
setmetatable(NUMBER.__index, TABLE)

local function u256(value)
  if is_number(value) then return value end
  if type(value) ~= "string" then return number(word(value, "u256")) end
  if #value > 80 then fail("u256: a text of " .. #value .. " characters") end
  return number(ask("parse", value))
end

local function u256_from_bytes(bytes)
  if #text(bytes, "u256_from_bytes") > 32 then fail("u256_from_bytes: " .. #bytes .. " bytes, limit 32") end
  return number(repeated("\0", 32 - #bytes) .. bytes)
end

local function shown(value)
  local kind = kind_of(value)
  if kind == "string" then return value end
  if kind == "u256" then return received(ask("text", value[BYTES])) end
  if kind == "number" or kind == "boolean" or kind == "nil" then return received(tostring(value)) end
  return kind -- without an address
end
