-- P token count sku … · U token count sku …   see lib/protected.lua
local function marked(first) return { unpack(ARGV, first + 2, first + 1 + tonumber(ARGV[first + 1])) } end
OPERATIONS.P = { arity = 1, many = true, op = 1, run = function(first) return protect(ARGV[first], marked(first), true) end }
OPERATIONS.U = { arity = 1, many = true, op = 1, run = function(first) return protect(ARGV[first], marked(first), false) end }

-- Q count sku …
--   { 1 or 0 for each }
OPERATIONS.Q = { arity = 0, many = true, run = function(first)
  local skus = { unpack(ARGV, first + 1, first + tonumber(ARGV[first])) }
  protected_read(skus)
  local result = {}
  for i, sku in ipairs(skus) do result[i] = protected[sku] and 1 or 0 end
  return result
end }

-- L version: the list of protected SKUs, for a sidecar that knows this version of it
--   { version now } where it is the same · { version now, sku … }
OPERATIONS.L = { arity = 1, run = function(first)
  local version = protected_version_read()
  local result = { version }
  if tonumber(ARGV[first]) == version then return result end
  for _, sku in ipairs(call('SMEMBERS', KEY_PROTECTED)) do
    if protected[sku] ~= false then result[#result + 1] = sku end
  end
  for sku in pairs(protected_changed) do
    -- What this call marked is not in the set yet.
    if protected[sku] and call('SISMEMBER', KEY_PROTECTED, sku) == 0 then result[#result + 1] = sku end
  end
  return result
end }
