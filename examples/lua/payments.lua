-- SPDX-License-Identifier: Apache-2.0
-- Payments between accounts that the contract keeps: opened with a public key, paid by the owner of a key, whoever sends
-- the transaction.
--
-- An account is known by its name of 32 bytes, the Keccak-256 of its public key. A payer signs what is to be paid, with a
-- number that goes up by one each time; anybody may bring the signed payment in. A payment reads and writes the payer,
-- and adds to the payee.

local function balance_key(name) return "balance" .. name end

local function key_of(name)
  local key = state.get("key" .. name)
  require(key ~= "", "Payments: no such account")
  return key
end

local function move(from, to, amount)
  key_of(to)
  local held = state.get_uint(balance_key(from))
  require(held >= amount, "Payments: insufficient balance")
  state.put_uint(balance_key(from), held - amount)
  state.add(balance_key(to), amount)
  emit("Paid(bytes32 indexed from, bytes32 indexed to, uint256 amount)", from, to, amount)
end

-- What a payer signs: for this contract alone, and for one payment.
local function payment_hash(from, to, amount, number)
  return keccak256(abi.encode("address,bytes32,bytes32,uint256,uint64", this, from, to, amount, number))
end

return {
  ["constructor()"] = function() state.put("bank", msg.sender) end,

  -- Opens an account for a public key of secp256k1 (33 bytes). Its sender may pay from it without a signature. The bank
  -- may give it an amount to begin with.
  ["open(bytes key, uint256 amount) returns (bytes32)"] = function(key, amount)
    require(#key == 33, "Payments: a public key has 33 bytes")
    require(amount == 0 or msg.sender == state.get("bank"), "Payments: only the bank gives")
    local name = keccak256(key)
    require(state.get("key" .. name) == "", "Payments: the account is open already")
    state.put("key" .. name, key)
    state.put("holder" .. name, msg.sender)
    state.put_uint(balance_key(name), amount)
    emit("Opened(bytes32 indexed name, address indexed holder, uint256 amount)", name, msg.sender, amount)
    return name
  end,

  ["pay(bytes32 from, bytes32 to, uint256 amount)"] = function(from, to, amount)
    require(state.get("holder" .. from) == msg.sender, "Payments: not the holder")
    move(from, to, amount)
  end,

  -- A payment that somebody else brings in, with the payer's signature (r and s, 64 bytes) of `hash`.
  ["paySigned(bytes32 from, bytes32 to, uint256 amount, bytes signature)"] = function(from, to, amount, signature)
    local number = state.get_uint("number" .. from)
    local hash = payment_hash(from, to, amount, number)
    require(verify("secp256k1", hash, signature, key_of(from)), "Payments: the signature isn't the payer's")
    state.put_uint("number" .. from, number + 1)
    move(from, to, amount)
  end,

  ["hash(bytes32 from, bytes32 to, uint256 amount, uint64 number) view returns (bytes32)"] = payment_hash,
  ["number(bytes32 name) view returns (uint64)"] = function(name) return state.get_uint("number" .. name) end,
  ["balanceOf(bytes32 name) view returns (uint256)"] = function(name) return state.get_uint(balance_key(name)) end,
}
