-- Stock by SKU, read once a call and written once a call.
local stock, stock_changed = {}, {}

local function stock_decode(bytes)
  if not bytes then return false end
  local available, reserved, committed, due = unpack_number(STOCK, bytes)
  return { available = available, reserved = reserved, committed = committed, due = due }
end

local function stock_new() return { available = 0, reserved = 0, committed = 0, due = 0 } end

-- Reads the SKUs that are not there yet, some hundreds a command.
local function stock_read(skus)
  local missing, n = {}, 0
  for i = 1, #skus do
    local sku = skus[i]
    if stock[sku] == nil then
      stock[sku] = false
      n = n + 1
      missing[n] = sku
    end
  end
  for from = 1, n, PAGE do
    local to = from + PAGE - 1
    if to > n then to = n end
    local records = call('HMGET', KEY_STOCK, unpack(missing, from, to))
    for i = from, to do stock[missing[i]] = stock_decode(records[i - from + 1]) end
  end
end

-- The SKU's stock, or false where it was never set.
local function stock_of(sku)
  local s = stock[sku]
  if s == nil then
    s = stock_decode(call('HGET', KEY_STOCK, sku))
    stock[sku] = s
  end
  return s
end
