-- SPDX-License-Identifier: Apache-2.0
-- An ERC-20 token with an owner who can mint: the ABI of ../contracts/Token.sol, so that wallets and Solidity contracts
-- see no difference.
--
-- A transfer reads and writes the balance of the sender alone. What the receiver gets is added without reading it, so
-- that any number of transfers to one account run in parallel.

local NOBODY = string.rep("\0", 20)

local function balance_key(who) return "balance" .. who end

local function allowance_key(holder, spender) return "allowance" .. holder .. spender end

local function move(from, to, value)
  require(to ~= NOBODY, "Token: transfer to the zero address")
  local held = state.get_uint(balance_key(from))
  require(held >= value, "Token: insufficient balance")
  state.put_uint(balance_key(from), held - value)
  state.add(balance_key(to), value) -- no sum of balances is above the supply
  emit("Transfer(address indexed from, address indexed to, uint256 value)", from, to, value)
end

local function mint(to, value)
  require(to ~= NOBODY, "Token: mint to the zero address")
  state.put_uint("supply", state.get_uint("supply") + value) -- reverts beyond 2^256 - 1
  state.add(balance_key(to), value)
  emit("Transfer(address indexed from, address indexed to, uint256 value)", NOBODY, to, value)
end

return {
  ["constructor(string name, string symbol, uint8 decimals, uint256 supply)"] = function(name, symbol, decimals, supply)
    state.put("name", name)
    state.put("symbol", symbol)
    state.put_uint("decimals", decimals)
    state.put("owner", msg.sender)
    mint(msg.sender, supply)
  end,

  ["name() view returns (string)"] = function() return state.get("name") end,
  ["symbol() view returns (string)"] = function() return state.get("symbol") end,
  ["decimals() view returns (uint8)"] = function() return state.get_uint("decimals") end,
  ["owner() view returns (address)"] = function() return state.get("owner") end,
  ["totalSupply() view returns (uint256)"] = function() return state.get_uint("supply") end,
  ["balanceOf(address account) view returns (uint256)"] = function(account)
    return state.get_uint(balance_key(account))
  end,
  ["allowance(address holder, address spender) view returns (uint256)"] = function(holder, spender)
    return state.get_uint(allowance_key(holder, spender))
  end,

  ["transfer(address to, uint256 value) returns (bool)"] = function(to, value)
    move(msg.sender, to, value)
    return true
  end,

  ["approve(address spender, uint256 value) returns (bool)"] = function(spender, value)
    require(spender ~= NOBODY, "Token: approve to the zero address")
    state.put_uint(allowance_key(msg.sender, spender), value)
    emit("Approval(address indexed owner, address indexed spender, uint256 value)", msg.sender, spender, value)
    return true
  end,

  -- The largest number as an allowance means without limit, and isn't written when it is used.
  ["transferFrom(address from, address to, uint256 value) returns (bool)"] = function(from, to, value)
    local key = allowance_key(from, msg.sender)
    local allowed = state.get_uint(key)
    if allowed ~= u256("0x" .. string.rep("ff", 32)) then
      require(allowed >= value, "Token: insufficient allowance")
      state.put_uint(key, allowed - value)
    end
    move(from, to, value)
    return true
  end,

  ["mint(address to, uint256 value)"] = function(to, value)
    if msg.sender ~= state.get("owner") then revert_with("NotOwner(address caller)", msg.sender) end
    mint(to, value)
  end,

  ["burn(uint256 value)"] = function(value)
    local held = state.get_uint(balance_key(msg.sender))
    require(held >= value, "Token: insufficient balance")
    state.put_uint(balance_key(msg.sender), held - value)
    state.put_uint("supply", state.get_uint("supply") - value)
    emit("Transfer(address indexed from, address indexed to, uint256 value)", msg.sender, NOBODY, value)
  end,
}
