-- What the operators of rewritten source ask. `a + b` comes as `(a + MARKER) + b`: the first half keeps `a`, and the
-- second one computes. What is kept is a stack, since the right operand may hold operators itself.

local pending, held = {}, 0
local MARKERS = {}

local function hold(value, marker)
  if not MARKERS[marker] then fail("attempt to perform a bitwise operation on a u256 value") end
  held = held + 1
  pending[held] = value
  return marker
end

local function marker(event, apply)
  local mark = {}
  MARKERS[mark] = true
  return setmetatable(mark, {[event] = function(x, y)
    if x == mark then
      local a = pending[held]
      held = held - 1
      return apply(a, y)
    end
    held = held + 1
    pending[held] = x
    return mark
  end})
end

local function refuse(a, b, what)
  local culprit = (type(a) == "number" or is_number(a)) and b or a
  fail("attempt to " .. what .. " a " .. kind_of(culprit) .. " value")
end

local function add(a, b)
  if type(a) == "number" and type(b) == "number" then
    local sum = a + b
    if (a ~ sum) & (b ~ sum) < 0 then fail("arithmetic overflow: a sum beyond 64 bits") end
    return sum
  end
  if is_number(a) and (type(b) == "number" or is_number(b)) or is_number(b) and type(a) == "number" then
    return number(add_words(word(a, "+"), word(b, "+")))
  end
  refuse(a, b, "perform arithmetic on")
end

local function subtract(a, b)
  if type(a) == "number" and type(b) == "number" then
    local difference = a - b
    if (a ~ b) & (a ~ difference) < 0 then fail("arithmetic overflow: a difference beyond 64 bits") end
    return difference
  end
  if is_number(a) and (type(b) == "number" or is_number(b)) or is_number(b) and type(a) == "number" then
    return number(subtract_words(word(a, "-"), word(b, "-")))
  end
  refuse(a, b, "perform arithmetic on")
end

local SMALL = 1 << 31

local function multiply(a, b)
  if type(a) == "number" and type(b) == "number" then
    local product = a * b
    if a >= SMALL or a <= -SMALL or b >= SMALL or b <= -SMALL then
      if a ~= 0 and (product // a ~= b or product % a ~= 0 or (a == -1 and b == product and b ~= 0)) then
        fail("arithmetic overflow: a product beyond 64 bits")
      end
    end
    return product
  end
  if is_number(a) and (type(b) == "number" or is_number(b)) or is_number(b) and type(a) == "number" then
    return of_host("*", word(a, "*"), word(b, "*"), "")
  end
  refuse(a, b, "perform arithmetic on")
end

local function equal(a, b)
  local kind = type(a)
  if kind == "string" then
    if type(b) == "string" and #a == #b and #a > 256 then pay(#a // 128) end
    return a == b
  end
  if kind == "number" then return is_number(b) and a >= 0 and word(a, "==") == b[BYTES] or a == b end
  if type(b) == "number" then return is_number(a) and b >= 0 and a[BYTES] == word(b, "==") end
  return a == b
end

-- -1, 0 or 1.
local function compare(a, b)
  local kind = type(a)
  if kind == "number" and type(b) == "number" then return a < b and -1 or (a > b and 1 or 0) end
  if kind == "string" and type(b) == "string" then
    pay((#a < #b and #a or #b) // 8)
    return a < b and -1 or (a == b and 0 or 1)
  end
  if is_number(a) then
    if is_number(b) then return compare_words(a[BYTES], b[BYTES]) end
    if type(b) == "number" then return b < 0 and 1 or compare_words(a[BYTES], word(b, "<")) end
  elseif kind == "number" and is_number(b) then
    return a < 0 and -1 or compare_words(word(a, "<"), b[BYTES])
  end
  fail("attempt to compare " .. kind_of(a) .. " with " .. kind_of(b))
end

local function join(a, b)
  local kind = type(a)
  if kind == "number" or is_number(a) then a = shown(a)
  elseif kind ~= "string" then fail("attempt to concatenate a " .. kind .. " value") end
  kind = type(b)
  if kind == "number" or is_number(b) then b = shown(b)
  elseif kind ~= "string" then fail("attempt to concatenate a " .. kind .. " value") end
  local size = #a + #b
  if size > STRING_MAX then die("string") end
  allocate(size + 40)
  return a .. b
end

local JOIN = {}
MARKERS[JOIN] = true
-- `..` binds to the right: the right operand comes first.
local function join_half(x, y)
  if x == JOIN then
    held = held + 1
    pending[held] = y
    return JOIN
  end
  local b = pending[held]
  held = held - 1
  return join(x, b)
end
setmetatable(JOIN, {__concat = join_half})

NUMBER.__add, NUMBER.__sub, NUMBER.__mul, NUMBER.__bor, NUMBER.__concat = hold, hold, hold, hold, join_half

local LENGTH = setmetatable({}, {__pow = function(_, value)
  if type(value) == "string" then return #value end
  if not is_plain(value) then fail("attempt to get length of a " .. kind_of(value) .. " value") end
  return length(value)
end})

local FUNCTION = setmetatable({}, {__pow = function(_, made)
  allocate(256 + 48 * getinfo(made, "u").nups) -- with what tells how many there are
  return made
end})

local CONSTRUCTOR = setmetatable({}, {__pow = function(_, made) return setmetatable(made, TABLE) end})

local function constructor(fields)
  allocate(64 + 32 * fields)
  return CONSTRUCTOR
end

-- In the order of `source.MARKERS`.
local function markers()
  return marker("__add", add), marker("__sub", subtract), marker("__mul", multiply), JOIN,
    marker("__bor", equal), marker("__bor", function(a, b) return not equal(a, b) end),
    marker("__bor", function(a, b) return compare(a, b) < 0 end),
    marker("__bor", function(a, b) return compare(a, b) <= 0 end),
    marker("__bor", function(a, b) return compare(a, b) > 0 end),
    marker("__bor", function(a, b) return compare(a, b) >= 0 end),
    LENGTH, constructor, FUNCTION, function(value) return integer(value, "for") end
end
