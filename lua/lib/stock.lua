-- Stock by SKU, read once a call and written once a call.
local stock, stock_changed = {}, {}

local function stock_decode(text)
  if not text then return false end
  local available, reserved, committed = string.match(text, '^(-?%d+) (%d+) (%d+)$')
  return { available = tonumber(available), reserved = tonumber(reserved), committed = tonumber(committed) }
end

local function stock_encode(s) return string.format('%.0f %.0f %.0f', s.available, s.reserved, s.committed) end

-- Reads the SKUs that are not there yet, some hundreds a command.
local function stock_read(skus)
  local missing, seen = {}, {}
  for _, sku in ipairs(skus) do
    if stock[sku] == nil and not seen[sku] then
      seen[sku] = true
      missing[#missing + 1] = sku
    end
  end
  for from = 1, #missing, PAGE do
    local to = math.min(from + PAGE - 1, #missing)
    local texts = redis.call('HMGET', KEY_STOCK, unpack(missing, from, to))
    for i = from, to do stock[missing[i]] = stock_decode(texts[i - from + 1]) end
  end
end

-- The SKU's stock, or false where it was never set.
local function stock_of(sku)
  if stock[sku] == nil then stock[sku] = stock_decode(redis.call('HGET', KEY_STOCK, sku)) end
  return stock[sku]
end

local function stock_touch(sku) stock_changed[sku] = true end
