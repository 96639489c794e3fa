-- Stock by SKU, read once a call and written once a call.
local stock, stock_changed = {}, {}

local function stock_decode(text)
  if not text then return false end
  local available, reserved, committed = match(text, '^(-?%d+) (%d+) (%d+)$')
  return { available = tonumber(available), reserved = tonumber(reserved), committed = tonumber(committed) }
end

-- Reads the SKUs that are not there yet, some hundreds a command.
local function stock_read(skus)
  local missing = {}
  for _, sku in ipairs(skus) do
    if stock[sku] == nil then
      stock[sku] = false
      missing[#missing + 1] = sku
    end
  end
  for from = 1, #missing, PAGE do
    local to = math.min(from + PAGE - 1, #missing)
    local texts = call('HMGET', KEY_STOCK, unpack(missing, from, to))
    for i = from, to do stock[missing[i]] = stock_decode(texts[i - from + 1]) end
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
