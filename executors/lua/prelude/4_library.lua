-- Strings, tables and numbers. What the C functions below do is paid for before, by length.

local VALUES_ONCE = 200 -- results of one call

-- ---- strings -------------------------------------------------------------------------------------------------------

local function made(size)
  if size > STRING_MAX then die("string") end
  allocate(size + 40)
end

local function optional(value, what, default)
  if value == nil then return default end
  return integer(value, what)
end

-- As Lua counts: from 1, and from the end if below 0.
local function range(size, first, last)
  if first < 0 then first = size + first + 1 end
  if first < 1 then first = 1 end
  if last < 0 then last = size + last + 1 end
  if last > size then last = size end
  return first, last
end

local UPPER, LOWER = {}, {}

local function letters(s, what, pattern, map)
  made(#text(s, what))
  pay(#s // 4)
  if next(map) == nil then
    for code = 97, 122 do
      UPPER[char_of(code)], LOWER[char_of(code - 32)] = char_of(code - 32), char_of(code)
    end
  end
  return (substitute(s, pattern, map))
end

local strings = {}

function strings.len(s) return #text(s, "string.len") end

function strings.sub(s, first, last)
  local from, to = range(#text(s, "string.sub"), optional(first, "string.sub", 1), optional(last, "string.sub", -1))
  if from > to then return "" end
  made(to - from + 1)
  return slice(s, from, to)
end

function strings.byte(s, first, last)
  first = optional(first, "string.byte", 1)
  local from, to = range(#text(s, "string.byte"), first, optional(last, "string.byte", first))
  if to - from >= VALUES_ONCE then fail("string.byte: more than " .. VALUES_ONCE .. " bytes at once") end
  pay(8)
  return bytes_of(s, from, to)
end

function strings.char(...)
  local count = select("#", ...)
  made(count)
  local codes = {...}
  for i = 1, count do
    local code = integer(codes[i], "string.char")
    if code < 0 or code > 255 then fail("string.char: " .. code .. " is no byte") end
    codes[i] = code
  end
  return char_of(spread(codes, 1, count))
end

function strings.rep(s, count)
  count = integer(count, "string.rep")
  local size = #text(s, "string.rep")
  if count <= 0 or size == 0 then return "" end
  if count > STRING_MAX then die("string") end
  made(size * count)
  return repeated(s, count)
end

function strings.reverse(s)
  made(#text(s, "string.reverse"))
  return reversed(s)
end

function strings.upper(s) return letters(s, "string.upper", "[a-z]", UPPER) end

function strings.lower(s) return letters(s, "string.lower", "[A-Z]", LOWER) end

-- The second string itself, never a pattern.
function strings.find(s, wanted, first)
  local size = #text(s, "string.find")
  pay(size // 8 + size * #text(wanted, "string.find") // 4096)
  return find(s, wanted, (range(size, optional(first, "string.find", 1), -1)), true)
end

function strings.split(s, separator)
  local size = #text(s, "string.split")
  if #text(separator, "string.split") == 0 then fail("string.split: an empty separator") end
  pay(size // 8 + size * #separator // 4096)
  allocate(64)
  local parts, count, from = plain({}), 0, 1
  while true do
    local at, to = find(s, separator, from, true)
    local last = (at or size + 1) - 1
    made(last - from + 1)
    count = count + 1
    parts[count] = slice(s, from, last)
    if not at then return parts end
    from = to + 1
  end
end

function strings.format(pattern, ...)
  local pieces, count, at, used, values = {}, 0, 1, 0, {...}
  local size = 0
  pay(#text(pattern, "string.format") // 8)
  while true do
    local from, to, flags, width, precision, kind = find(pattern, "%%([-+ 0]*)(%d*)(%.?%d*)(.?)", at)
    local piece = slice(pattern, at, (from or 0) - 1)
    allocate(96 + #piece)
    if from then
      if #flags > 3 or #width > 2 or #precision > 3 or not find("dsxX%", kind, 1, true) or kind == "" then
        fail("string.format: '" .. slice(pattern, from, to) .. "' isn't known")
      end
      if kind == "%" then
        piece = piece .. "%"
      else
        used = used + 1
        local value = values[used]
        if kind == "s" then value = shown(value) else value = integer(value, "string.format") end
        allocate(#piece + 140) -- with the widest number
        if kind == "s" and width == "" and precision == "" then
          made(#value + #piece)
          piece = piece .. value
        else
          if kind == "s" and find(value, "\0", 1, true) then fail("string.format: a zero byte with a width") end
          made(kind == "s" and #value or 0)
          piece = piece .. format("%" .. flags .. width .. precision .. kind, value)
        end
      end
    end
    size = size + #piece
    count = count + 1
    pieces[count] = piece
    if not from then break end
    at = to + 1
  end
  made(size)
  return native_concat(pieces)
end

local HEX = {}

local function hex(s)
  made(2 * #text(s, "hex"))
  pay(#s // 4)
  if next(HEX) == nil then
    for code = 0, 255 do HEX[char_of(code)] = format("%02x", code) end
  end
  return (substitute(s, ".", HEX))
end

local function unhex(s)
  local size = #text(s, "unhex")
  made(size)
  pay(size)
  s = substitute(s, "^0[xX]", "")
  if #s % 2 ~= 0 or find(s, "[^0-9a-fA-F]") then fail("unhex: not an even number of hexadecimal digits") end
  return (substitute(s, "..", function(pair) return char_of(tonumber(pair, 16)) end))
end

-- ---- tables --------------------------------------------------------------------------------------------------------

local function table_of(t, what)
  if not is_plain(t) then fail(what .. ": a " .. kind_of(t) .. " where a table is expected") end
  return t
end

local tables = {}

function tables.insert(t, ...)
  local size = length(table_of(t, "table.insert"))
  local count = select("#", ...)
  if count == 1 then
    t[size + 1] = (...)
  elseif count == 2 then
    local at, value = ...
    at = integer(at, "table.insert")
    if at < 1 or at > size + 1 then fail("table.insert: position " .. at .. " in " .. size) end
    for i = size, at, -1 do t[i + 1] = t[i] end
    t[at] = value
  else
    fail("table.insert: " .. count + 1 .. " arguments; it takes 2 or 3")
  end
end

function tables.remove(t, at)
  local size = length(table_of(t, "table.remove"))
  at = optional(at, "table.remove", size)
  if at < 1 or at > size then
    if at == size or at == size + 1 then return nil end
    fail("table.remove: position " .. at .. " in " .. size)
  end
  local value = t[at]
  for i = at, size - 1 do t[i] = t[i + 1] end
  t[size] = nil
  return value
end

function tables.concat(t, separator, first, last)
  separator = separator == nil and "" or text(separator, "table.concat")
  first = optional(first, "table.concat", 1)
  last = optional(last, "table.concat", nil) or length(table_of(t, "table.concat"))
  table_of(t, "table.concat")
  if last - first >= MEMORY_MAX then die("memory") end
  local parts, size, count = {}, 0, 0
  for i = first, last do
    local value = t[i]
    local kind = type(value)
    if kind ~= "string" then
      if kind ~= "number" and not is_number(value) then fail("table.concat: a " .. kind .. " at " .. i) end
      value = shown(value)
    end
    allocate(32)
    size = size + #value + #separator
    if size > STRING_MAX + #separator then die("string") end
    count = count + 1
    parts[count] = value
  end
  made(size)
  return native_concat(parts, separator)
end

function tables.unpack(t, first, last)
  table_of(t, "table.unpack")
  first = optional(first, "table.unpack", 1)
  last = optional(last, "table.unpack", nil) or length(t)
  if last >= first and unsigned_less(VALUES_ONCE - 1, last - first) then
    fail("table.unpack: more than " .. VALUES_ONCE .. " values")
  end
  allocate(32 * (last >= first and last - first + 1 or 0))
  return spread(t, first, last)
end

-- A merge sort: stable, and the same whatever the comparison does.
function tables.sort(t, before)
  local size = length(table_of(t, "table.sort"))
  if before == nil then
    before = function(a, b) return compare(a, b) < 0 end
  elseif type(before) ~= "function" then
    fail("table.sort: a " .. kind_of(before) .. " where a function is expected")
  end
  allocate(64 + 32 * size)
  local from, to, width = t, {}, 1
  while width < size do
    for left = 1, size, 2 * width do
      local i, j = left, left + width
      local middle = j <= size + 1 and j or size + 1
      local last = left + 2 * width <= size + 1 and left + 2 * width or size + 1
      j = middle
      for k = left, last - 1 do
        if i < middle and (j >= last or not before(from[j], from[i])) then
          to[k] = from[i]
          i = i + 1
        else
          to[k] = from[j]
          j = j + 1
        end
      end
    end
    from, to, width = to, from, 2 * width
  end
  if not rawequal(from, t) then
    for k = 1, size do t[k] = from[k] end
  end
end

-- ---- loops ---------------------------------------------------------------------------------------------------------

local function ipairs_step(t, i)
  i = i + 1
  local value = t[i]
  if value ~= nil then return i, value end
end

local function ipairs(t) return ipairs_step, table_of(t, "ipairs"), 0 end

-- The keys that there are now: integers ascending, then strings by their bytes, then false and true.
local function pairs(t)
  table_of(t, "pairs")
  pay(inserts // 16 + memory // 2048) -- Lua passes over the room that is free, too
  local keys, names, count, named, size, rounds, strange = {}, {}, 0, 0, 0, 1, false
  -- In what order these loops meet the keys depends on addresses. So nothing in them can end the message but the gas of
  -- their instructions, which comes to the same.
  for _ in next, t do size = size + 1 end
  allocate(48 * size)
  size = 0
  for key in next, t do
    local kind = type(key)
    if kind == "number" then
      count = count + 1
      keys[count] = key
    elseif kind == "string" then
      named = named + 1
      names[named] = key
      size = size + #key
    elseif kind ~= "boolean" then
      strange = true
    end
  end
  if strange then fail("pairs: a key that is no integer, string or boolean") end
  while 1 << rounds < named do rounds = rounds + 1 end
  pay(8 * (count + named) + size * rounds // 8)
  native_sort(keys)
  native_sort(names)
  for i = 1, named do keys[count + i] = names[i] end
  count = count + named
  for _, key in next, {false, true} do
    if t[key] ~= nil then
      count = count + 1
      keys[count] = key
    end
  end
  local at = 0
  return function()
    while at < count do
      at = at + 1
      local key = keys[at]
      local value = t[key]
      if value ~= nil then return key, value end
    end
  end
end

-- ---- numbers -------------------------------------------------------------------------------------------------------

local numbers = {maxinteger = math.maxinteger, mininteger = math.mininteger}

function numbers.abs(value)
  if is_number(value) then return value end
  value = integer(value, "math.abs")
  if value == math.mininteger then fail("arithmetic overflow: math.abs of the smallest integer") end
  return value < 0 and -value or value
end

local function extreme(what, sign)
  return function(first, ...)
    compare(first, first)
    for _, value in next, {...} do
      if compare(value, first) == sign then first = value end
    end
    return first
  end
end

numbers.max, numbers.min = extreme("math.max", 1), extreme("math.min", -1)

function numbers.ult(a, b) return unsigned_less(integer(a, "math.ult"), integer(b, "math.ult")) end

function numbers.tointeger(value)
  if type(value) == "number" then return value end
  if is_number(value) and compare_words(value[BYTES], word(math.maxinteger, "")) <= 0 then
    return integer(value, "math.tointeger")
  end
end

function numbers.type(value)
  return type(value) == "number" and "integer" or (is_number(value) and "u256" or nil)
end

local function number_of(value)
  if type(value) == "number" or is_number(value) then return value end
  if type(value) ~= "string" or #value > 32 then return nil end
  local digits = match(value, "^[ \t\r\n]*(-?[0-9]+)[ \t\r\n]*$") or match(value, "^[ \t\r\n]*(0[xX][0-9a-fA-F]+)[ \t\r\n]*$")
  if not digits then return nil end
  local found = integer_of(tonumber(digits))
  if find(digits, "^0[xX]") and (#digits > 18 or found < 0) then return nil end -- Lua would wrap
  return found
end
