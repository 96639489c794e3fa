-- Reservations whose ids the sidecar minted, in lots (lib/format.lua): so a batch costs the upstream little more than one.
local lots = {}            -- id -> lot, or false
local lots_made = {}       -- id -> the bytes of a lot that this call makes
local lots_changed = {}    -- id -> true
local lots_forgotten = {}  -- ids of lots and logs, and names of batches
local logs, logs_changed = {}, {} -- lot .. which sixteen -> the log ('' where there is none), true
local LOT_ID, LOG_ENTRY = 19, 20

local function lot_decode(bytes)
  if not bytes then return false end
  local made, expires, places, open, length, from = unpack_number(LOT_HEAD, bytes)
  local masks, last = {}, floor((places - 1) / LOG_PLACES)
  for index = 0, last do masks[index], from = unpack_number('>I2', bytes, from) end
  return { made = made, expires = expires, n = places, last = last, open = open, masks = masks,
    sku = sub(bytes, from, from + length - 1), quantities = sub(bytes, from + length) }
end

local function lot_encode(lot)
  local packed = {}
  for index = 0, lot.last do packed[index + 1] = pack_number('>I2', lot.masks[index]) end
  return pack_number(LOT_HEAD, lot.made, lot.expires, lot.n, lot.open, #lot.sku) .. table.concat(packed) .. lot.sku
    .. lot.quantities
end

local function lot_of(id)
  local lot = lots[id]
  if lot == nil then
    lot = lot_decode(call('HGET', KEY_LOTS, id))
    lots[id] = lot
  end
  return lot
end

local function log_of(name)
  local log = logs[name]
  if not log then
    log = call('HGET', KEY_LOTS, name) or ''
    logs[name] = log
  end
  return log
end

-- The state of a place, and of an ended one when it ended and the token; nil where the lot has none of that place.
local function entry_of(id, lot, place)
  if place < 1 or place > lot.n then return nil end
  local index = floor((place - 1) / LOG_PLACES)
  local flag = 2 ^ (place - 1 - index * LOG_PLACES)
  if band(lot.masks[index], flag) ~= 0 then return 'o', 0, NO_TOKEN end
  local log = log_of(id .. char(index))
  for at = 1, #log, LOG_ENTRY do
    local state, ended, token, mask = unpack_number('>c1I6c11I2', log, at)
    if band(mask, flag) ~= 0 then return state, ended, token end
  end
  return '-', 0, NO_TOKEN
end

local function entry_quantity(lot, place)
  if #lot.quantities == 4 then place = 1 end
  return (unpack_number('>I4', lot.quantities, 4 * place - 3))
end

-- Open entries of one sixteen hold stock no more; what becomes of their stock is the caller's.
local function entries_end(id, lot, index, mask, count, state, token)
  local name = id .. char(index)
  logs[name] = log_of(name) .. state .. now_packed .. token .. pack_number('>I2', mask)
  logs_changed[name], lots_changed[id], stock_changed[lot.sku] = true, true, true
  lot.masks[index], lot.open = lot.masks[index] - mask, lot.open - count
  if lot.open == 0 then
    open_unset('l', id, lot.sku, lot.expires)
    ended_set('l' .. id, now + remember_ms)
  end
end

local function entry_end(id, lot, place, state, token)
  local index = floor((place - 1) / LOG_PLACES)
  entries_end(id, lot, index, 2 ^ (place - 1 - index * LOG_PLACES), 1, state, token)
end

-- Ends those of these places that are open. Returns their quantity, and which places they were.
local function entries_end_open(id, lot, index, mask, limit, state, token)
  local taken, count, quantity = 0, 0, 0
  mask = band(mask, lot.masks[index])
  for place = 1, LOG_PLACES do
    if mask == 0 or count >= limit then break end
    local flag = 2 ^ (place - 1)
    if band(mask, flag) ~= 0 then
      mask, taken, count = mask - flag, taken + flag, count + 1
      quantity = quantity + entry_quantity(lot, index * LOG_PLACES + place)
    end
  end
  if count > 0 then entries_end(id, lot, index, taken, count, state, token) end
  return quantity, taken, count
end

local function stock_give_back(sku, quantity)
  local s = stock_of(sku)
  s.available, s.reserved = s.available + quantity, s.reserved - quantity
end

-- Takes back what is open of an overdue lot, `limit` reservations at most. Returns how many they were.
local function lot_expire(id, lot, limit)
  local taken = 0
  for index = 0, lot.last do
    local quantity, _, count = entries_end_open(id, lot, index, 65535, limit - taken, 'x', NO_TOKEN)
    stock_give_back(lot.sku, quantity)
    taken = taken + count
  end
  expired_count = expired_count + taken
  return taken
end
